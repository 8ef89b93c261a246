#include "cli/version.h"

namespace moxie {

std::string_view version() {
  return MOXIE_VERSION;
}

}  // namespace moxie

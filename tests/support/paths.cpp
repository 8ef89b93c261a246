#include "support/paths.h"

namespace moxie {

std::string source_dir() {
  return MOXIE_SOURCE_DIR;
}
std::string moxie_program() {
  return MOXIE_PROGRAM;
}

}  // namespace moxie

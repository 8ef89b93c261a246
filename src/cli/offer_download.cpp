// What happens with a model of the hub that is not on this machine: the error names the command that downloads it.
#include "cli/find_model.h"

namespace moxie::cli {

Result<std::string> offer_download(const std::string&, Error not_here) {
  return not_here;
}

}  // namespace moxie::cli

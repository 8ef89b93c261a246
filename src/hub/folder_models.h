// What all stores do with folders and names of files. Stateless, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"

namespace moxie {

// Files that make one GGUF model: one, or the parts of a split file in order.
struct GgufGroup {
  std::string name;                // of the first file, as it stands in `names`
  std::vector<std::string> files;  // as they stand in `names`
};
// Side files (mmproj-*, mtp-*, imatrix) are left out. `names` may be paths; parts belong together within a folder.
std::vector<GgufGroup> group_gguf_files(const std::vector<std::string>& names);
// Those a user means by "Q4_K_M", by "*Q4_K*", or by the name of a file (of any part).
std::vector<GgufGroup> matching_groups(const std::vector<GgufGroup>& groups, std::string_view wanted);

uint64_t bytes_of_file(const std::string& path);  // through links; 0 where it is absent
uint64_t bytes_of_weights(const std::string& folder, const std::vector<std::string>& names);  // .gguf and .safetensors

// "name (24.6 GiB), ..." of the groups, with their sizes below `folder`.
std::string describe_groups(const std::string& folder, const std::vector<GgufGroup>& groups);

}  // namespace moxie

// What an earlier conversion left in the place of a new one: the parts of another division, which would lie beside the
// new files and be taken for theirs. Stateless, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "core/log.h"
#include "format/weight_file.h"

namespace moxie {

// Beside `path`, files named as a conversion to it names them, but none of `now`.
std::vector<std::string> earlier_gguf_files(const std::string& path, const std::vector<std::string>& now);
// In `folder`, where it holds a model, the weights, index and side files that a conversion to it may write, but none of
// `now`. REQUIRES: none of the new files is there yet.
std::vector<std::string> earlier_safetensors_files(const std::string& folder, const std::vector<std::string>& now);

// Removes those that are no file of `source`, and says so.
void remove_earlier(const std::vector<std::string>& paths, const WeightFiles& source, Log& log);

}  // namespace moxie

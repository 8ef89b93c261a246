// Which files of a Hugging Face folder hold the model, and which tensor is in which. Stateless, thread-safe.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "moxie/error.h"

namespace moxie {

struct SafetensorsFiles {
  std::string folder;
  std::vector<std::string> names;  // of files in the folder, sorted
  // From the index: tensor -> number of its file in names. Empty where there is no index: every tensor of every file
  // counts.
  std::unordered_map<std::string, size_t> weight_map;
};

// Parses the text of a model.safetensors.index.json; touches no files.
Result<SafetensorsFiles> parse_safetensors_index(std::string_view text, const std::string& path);
// `path`: a folder, an index or one .safetensors. Absent files are named before any is opened.
Result<SafetensorsFiles> choose_safetensors(const std::string& path);

}  // namespace moxie

// Splits a tokenizer.json into its two large lists, read straight into vectors, and the small rest as a JSON value: a file of
// several megabytes is mostly vocabulary and merges, for which a tree of values is slow. Internal to the readers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moxie/error.h"

namespace moxie {

struct TokenizerJson {
  nlohmann::json rest;  // the file without model.vocab and model.merges
  std::vector<std::pair<std::string, int64_t>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;
};

// Errors: corrupt (not JSON, or one of the lists has an entry of the wrong kind).
Result<TokenizerJson> parse_tokenizer_json(std::string_view file);

}  // namespace moxie

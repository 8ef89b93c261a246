// Prompts as requests give them: text, token ids, or both. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "moxie/error.h"
#include "text/tokenizer.h"

namespace moxie::server {

// The prompts of a field: a text, a list of ids (and texts among them), or a list of those. Texts get a start token as
// the tokenizer says, and control tokens written in them count; ids stay as they are. `list`: the field held several.
struct PromptInputs {
  std::vector<std::vector<int32_t>> prompts;
  bool list = false;
};
// Errors: invalid_argument: something else, an id outside the vocabulary, nothing at all.
Result<PromptInputs> read_prompts(const Json* value, std::string_view field, const Tokenizer& tokenizer);

// A list of ids. Errors: invalid_argument.
Result<std::vector<int32_t>> read_ids(const Json& value, std::string_view field, const Tokenizer& tokenizer);

}  // namespace moxie::server

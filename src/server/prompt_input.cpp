#include "server/prompt_input.h"

#include <algorithm>

#include "core/fail.h"
#include "server/fields.h"

namespace moxie::server {
namespace {

constexpr size_t kPromptsMax = 128;

bool is_id(const Json& value) {
  return number_of(value).has_value();
}

Result<int32_t> read_id(const Json& value, std::string_view field, const Tokenizer& tokenizer) {
  const auto id = value.integer();
  if (!id || *id < 0 || *id >= tokenizer.vocabulary_size()) {
    return fail(ErrorCode::invalid_argument, "'{}' names the token {}; the vocabulary has ids 0 to {}", field,
                shown(value), tokenizer.vocabulary_size() - 1);
  }
  return static_cast<int32_t>(*id);
}

// Ids and texts of one prompt.
Result<std::vector<int32_t>> read_pieces(const Json::Array& pieces, std::string_view field,
                                         const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  bool first = true;
  for (const Json& piece : pieces) {
    if (piece.text() != nullptr) {
      const auto more =
          tokenizer.encode(*piece.text(), {.add_special = first, .parse_special = true, .continues = !first});
      ids.insert(ids.end(), more.begin(), more.end());
    } else {
      MOXIE_TRY(const int32_t id, read_id(piece, field, tokenizer));
      ids.push_back(id);
    }
    first = false;
  }
  return ids;
}

Result<std::vector<int32_t>> read_one(const Json& value, std::string_view field, const Tokenizer& tokenizer) {
  if (value.text() != nullptr) {
    return tokenizer.encode(*value.text(), {.add_special = true, .parse_special = true});
  }
  const bool pieces = value.array() != nullptr &&
                      std::all_of(value.array()->begin(), value.array()->end(),
                                  [](const Json& piece) { return piece.text() != nullptr || is_id(piece); });
  if (pieces) return read_pieces(*value.array(), field, tokenizer);
  return fail(ErrorCode::invalid_argument, "'{}' is {}; it must be a text, a list of token ids, or a list of those",
              field, shown(value));
}

}  // namespace

Result<std::vector<int32_t>> read_ids(const Json& value, std::string_view field, const Tokenizer& tokenizer) {
  if (value.array() == nullptr) {
    return fail(ErrorCode::invalid_argument, "'{}' is {}; it must be a list of token ids", field, shown(value));
  }
  std::vector<int32_t> ids;
  for (const Json& entry : *value.array()) {
    MOXIE_TRY(const int32_t id, read_id(entry, field, tokenizer));
    ids.push_back(id);
  }
  return ids;
}

Result<PromptInputs> read_prompts(const Json* value, std::string_view field, const Tokenizer& tokenizer) {
  if (value == nullptr) {
    return fail(ErrorCode::invalid_argument,
                "'{}' is missing; it must be a text, a list of token ids, or a list of those", field);
  }
  PromptInputs made;
  const Json::Array* list = value->array();
  // Ids make one prompt of a list; texts and lists alone make several.
  made.list = list != nullptr && !list->empty() && std::none_of(list->begin(), list->end(), is_id);
  if (list != nullptr && list->empty()) {
    return fail(ErrorCode::invalid_argument, "'{}' is an empty list; give at least one prompt", field);
  }
  if (!made.list) {
    MOXIE_TRY(auto ids, read_one(*value, field, tokenizer));
    made.prompts.push_back(std::move(ids));
  } else {
    if (list->size() > kPromptsMax) {
      return fail(ErrorCode::invalid_argument, "'{}' has {} prompts; at most {} are taken at once", field, list->size(),
                  kPromptsMax);
    }
    for (const Json& one : *list) {
      MOXIE_TRY(auto ids, read_one(one, field, tokenizer));
      made.prompts.push_back(std::move(ids));
    }
  }
  for (const auto& ids : made.prompts) {
    if (ids.empty())
      return fail(ErrorCode::invalid_argument, "'{}' has an empty prompt, and no start token is added", field);
  }
  return made;
}

}  // namespace moxie::server

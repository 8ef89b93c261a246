#include "text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/utf8.h"

namespace moxie {
namespace {

bool is_word_character(const Utf8Char& character) {
  if (!character.valid) return false;
  if (character.code == '_') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(character.code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  return !is_word_character(utf8_before(text, begin)) && !is_word_character(utf8_at(text, end));
}

}  // namespace

void AddedTokens::build(std::vector<AddedToken> tokens) {
  tokens_ = std::move(tokens);
  lengths_.resize(256);
  table_.reserve(tokens_.size());
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    if (content.empty()) continue;
    table_.insert(content, static_cast<int32_t>(i));
    lengths_[static_cast<unsigned char>(content[0])].push_back(content.size());
  }
  for (std::vector<size_t>& lengths : lengths_) {
    std::sort(lengths.begin(), lengths.end(), std::greater<>());
    lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  }
}

const AddedToken* AddedTokens::token_at(std::string_view text, size_t at, bool special) const {
  for (const size_t bytes : lengths_[static_cast<unsigned char>(text[at])]) {
    if (bytes > text.size() - at) continue;
    const int32_t index = table_.find(text.substr(at, bytes));
    if (index < 0) continue;
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (token.special && !special) continue;
    return &token;
  }
  return nullptr;
}

AddedTokens::Match AddedTokens::find(std::string_view text, size_t from, bool special) const {
  if (tokens_.empty()) return {};
  for (size_t at = from; at < text.size(); ++at) {
    if (lengths_[static_cast<unsigned char>(text[at])].empty()) continue;
    const AddedToken* token = token_at(text, at, special);
    if (token == nullptr) continue;
    Match match = {at, at + token->content.size(), token->id};
    if (token->single_word && !stands_alone(text, match.begin, match.end)) {
      at = match.end - 1;
      continue;
    }
    while (token->lstrip && match.begin > from) {
      const Utf8Char before = utf8_before(text, match.begin);
      if (!before.valid || match.begin - before.bytes < from || !is_white_space(before.code)) break;
      match.begin -= before.bytes;
    }
    while (token->rstrip && match.end < text.size()) {
      const Utf8Char after = utf8_at(text, match.end);
      if (!after.valid || !is_white_space(after.code)) break;
      match.end += after.bytes;
    }
    return match;
  }
  return {};
}

}  // namespace moxie

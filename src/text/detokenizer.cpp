#include "text/detokenizer.h"

#include <algorithm>

#include "text/utf8.h"

namespace moxie {

size_t complete_utf8_prefix(std::string_view text) {
  // Only the last three bytes can begin a character that is not complete.
  for (size_t waiting = std::min<size_t>(3, text.size()); waiting > 0; --waiting) {
    if (is_utf8_beginning(text.substr(text.size() - waiting))) return text.size() - waiting;
  }
  return text.size();
}

std::string to_valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Char character = utf8_at(text, at);
    if (character.valid) {
      result += text.substr(at, character.bytes);
    } else {
      result += "\xEF\xBF\xBD";
    }
    at += character.bytes;
  }
  return result;
}

std::string Detokenizer::push(int32_t id) {
  std::string bytes = tokenizer_->bytes(id, options_.with_special);
  if (bytes.empty()) return {};
  if (!started_ && options_.at_start_of_text && tokenizer_->strips_leading_space() && bytes.front() == ' ') {
    bytes.erase(0, 1);
  }
  started_ = true;
  pending_ += bytes;
  const size_t complete = complete_utf8_prefix(pending_);
  std::string ready = to_valid_utf8(std::string_view(pending_).substr(0, complete));
  pending_.erase(0, complete);
  return ready;
}

std::string Detokenizer::finish() {
  std::string rest = to_valid_utf8(pending_);
  pending_.clear();
  return rest;
}

std::string decode(const Tokenizer& tokenizer, std::span<const int32_t> ids, Detokenizer::Options options) {
  Detokenizer stream(tokenizer, options);
  std::string text;
  for (const int32_t id : ids) text += stream.push(id);
  text += stream.finish();
  return text;
}

}  // namespace moxie

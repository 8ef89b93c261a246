#include "chat/chat_tokens.h"

#include <algorithm>

#include "text/utf8.h"

namespace moxie {
namespace {

constexpr std::string_view kMark = "\xEF\xA3\xB0";  // U+F8F0

}  // namespace

ChatEncoder::ChatEncoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {
  for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    const TokenKind kind = tokenizer.kind(id);
    const bool control = kind == TokenKind::control || kind == TokenKind::user_defined;
    if (control && tokenizer.text(id).size() > 1) controls_.push_back(tokenizer.text(id));
  }
  std::stable_sort(controls_.begin(), controls_.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
}

std::string ChatEncoder::protect(std::string_view text) const {
  std::string to = unprotected(text);
  for (const std::string& control : controls_) {
    const size_t inside = utf8_length(control, 0);
    for (size_t at = to.find(control); at != std::string::npos; at = to.find(control, at + inside + kMark.size())) {
      to.insert(at + inside, kMark);
    }
  }
  return to;
}

Json ChatEncoder::protect(const Json& value) const {
  if (value.text()) return Json{protect(*value.text())};
  if (value.array()) {
    Json::Array items;
    for (const Json& item : *value.array()) items.push_back(protect(item));
    return Json{std::move(items)};
  }
  if (!value.object()) return value;
  Json::Object members;
  for (const auto& [key, member] : *value.object()) members.push_back({key, protect(member)});
  return Json{std::move(members)};
}

std::vector<int32_t> ChatEncoder::encode(std::string_view rendered, bool first) const {
  std::vector<int32_t> ids;
  for (size_t at = 0; at <= rendered.size();) {
    const size_t end = std::min(rendered.find(kMark, at), rendered.size());
    const bool begins = first && at == 0;
    if (end > at || begins) {
      const auto piece = tokenizer_->encode(rendered.substr(at, end - at),
                                            {.add_special = false, .parse_special = true, .continues = !begins});
      if (begins && tokenizer_->adds_bos() && tokenizer_->bos() >= 0 &&
          (piece.empty() || piece[0] != tokenizer_->bos())) {
        ids.push_back(tokenizer_->bos());
      }
      ids.insert(ids.end(), piece.begin(), piece.end());
    }
    at = end + kMark.size();
  }
  return ids;
}

std::string unprotected(std::string_view text) {
  std::string to;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(kMark, at), text.size());
    to += text.substr(at, end - at);
    at = end + kMark.size();
  }
  return to;
}

}  // namespace moxie

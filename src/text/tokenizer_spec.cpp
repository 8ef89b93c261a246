#include "text/tokenizer_spec.h"

#include "core/fail.h"
#include "text/utf8.h"

namespace moxie {
namespace {

// Printable bytes stand for themselves, the others, in ascending order, for U+0100, U+0101, ...
std::array<std::string, 256> make_byte_level_alphabet() {
  std::array<std::string, 256> alphabet;
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    append_utf8(alphabet[byte], printable ? byte : next++);
  }
  return alphabet;
}

// By code point up to U+0143: the byte, or -1.
std::array<int16_t, 0x144> make_byte_level_inverse() {
  std::array<int16_t, 0x144> inverse;
  inverse.fill(-1);
  for (size_t byte = 0; byte < 256; ++byte) {
    inverse[utf8_at(byte_level_alphabet()[byte], 0).code] = static_cast<int16_t>(byte);
  }
  return inverse;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

const std::array<std::string, 256>& byte_level_alphabet() {
  static const std::array<std::string, 256> alphabet = make_byte_level_alphabet();
  return alphabet;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  static const std::array<int16_t, 0x144> inverse = make_byte_level_inverse();
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Char character = utf8_at(text, at);
    if (!character.valid || character.code >= inverse.size() || inverse[character.code] < 0) return std::nullopt;
    bytes += static_cast<char>(inverse[character.code]);
    at += character.bytes;
  }
  return bytes;
}

int byte_token_value(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  const int high = hex_value(text[3]), low = hex_value(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

MergeReader::MergeReader(TokenizerSpec& spec) : spec_(&spec) {
  table_.reserve(spec.texts.size());
  for (size_t i = 0; i < spec.texts.size(); ++i) table_.insert(spec.texts[i], static_cast<int32_t>(i));
}

void MergeReader::add(std::string_view left, std::string_view right) {
  ++given_;
  whole_.assign(left).append(right);
  const MergeRule rule = {table_.find(left), table_.find(right), table_.find(whole_)};
  if (rule.left >= 0 && rule.right >= 0 && rule.result >= 0) spec_->merges.push_back(rule);
}

void MergeReader::finish() {
  const size_t kept = spec_->merges.size();
  if (kept == given_) return;
  spec_->notices.push_back(
      fmt::format("{} of {} merges name texts that are no tokens; they are ignored", given_ - kept, given_));
}

Result<void> add_token(TokenizerSpec& spec, AddedToken token, size_t ids_max) {
  if (token.id < 0 || static_cast<size_t>(token.id) >= ids_max) {
    return fail(ErrorCode::corrupt,
                "tokenizer: added token '{}' has id {}, beyond {} (the tokens there are, and room for gaps)",
                token.content.substr(0, 80), token.id, ids_max);
  }
  const size_t id = static_cast<size_t>(token.id);
  if (id >= spec.texts.size()) {
    spec.texts.resize(id + 1);
    spec.kinds.resize(id + 1, TokenKind::unused);
    if (!spec.scores.empty()) spec.scores.resize(id + 1);
  }
  const bool listed = spec.kinds[id] != TokenKind::normal && spec.kinds[id] != TokenKind::unused;
  spec.texts[id] = token.content;
  if (spec.kinds[id] != TokenKind::unknown)
    spec.kinds[id] = token.special ? TokenKind::control : TokenKind::user_defined;
  if (listed) {
    std::erase_if(spec.added, [&](const AddedToken& known) { return known.id == token.id; });
  }
  spec.added.push_back(std::move(token));
  return {};
}

}  // namespace moxie

// Reading UTF-8 that may be broken: an invalid byte is a character of its own. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moxie {

struct Utf8Char {
  uint32_t code = 0;   // the byte itself when not valid
  uint32_t bytes = 0;  // 1 to 4; 0 at the end of the text
  bool valid = false;
};

// The character that starts at text[at].
Utf8Char utf8_at(std::string_view text, size_t at);
// The character that ends before text[end].
Utf8Char utf8_before(std::string_view text, size_t end);
// The length in bytes of the character at text[at] (1 for an invalid byte). REQUIRES: at < text.size().
inline size_t utf8_length(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]) < 0x80 ? 1 : utf8_at(text, at).bytes;
}
// Unicode property White_Space.
bool is_white_space(uint32_t code);
void append_utf8(std::string& to, uint32_t code);
// Could `text` (a few bytes) be the beginning of a valid character that is not complete yet?
bool is_utf8_beginning(std::string_view text);

}  // namespace moxie

#include "text/utf8.h"

namespace moxie {
namespace {

// How many bytes a character with this first byte has (0: none starts so), and the range of its second byte, which is
// what excludes over-long forms, surrogates and codes above U+10FFFF.
struct Lead {
  uint32_t bytes;
  unsigned char second_min, second_max;
};

Lead lead_of(unsigned char first) {
  if (first < 0x80) return {1, 0, 0};
  if (first < 0xC2) return {0, 0, 0};
  if (first < 0xE0) return {2, 0x80, 0xBF};
  if (first == 0xE0) return {3, 0xA0, 0xBF};
  if (first == 0xED) return {3, 0x80, 0x9F};
  if (first < 0xF0) return {3, 0x80, 0xBF};
  if (first == 0xF0) return {4, 0x90, 0xBF};
  if (first < 0xF4) return {4, 0x80, 0xBF};
  if (first == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many of the first `lead.bytes` bytes at text[at] fit the character that the first one announces.
size_t fitting_bytes(std::string_view text, size_t at, const Lead& lead) {
  size_t count = 1;
  while (count < lead.bytes && at + count < text.size()) {
    const unsigned char byte = static_cast<unsigned char>(text[at + count]);
    const unsigned char low = count == 1 ? lead.second_min : 0x80, high = count == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) break;
    ++count;
  }
  return count;
}

}  // namespace

Utf8Char utf8_at(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const unsigned char first = static_cast<unsigned char>(text[at]);
  const Lead lead = lead_of(first);
  if (lead.bytes == 1) return {first, 1, true};
  if (lead.bytes == 0 || fitting_bytes(text, at, lead) < lead.bytes) return {first, 1, false};
  uint32_t code = first & (0x7Fu >> lead.bytes);
  for (size_t i = 1; i < lead.bytes; ++i) code = (code << 6) | (static_cast<unsigned char>(text[at + i]) & 0x3Fu);
  return {code, lead.bytes, true};
}

Utf8Char utf8_before(std::string_view text, size_t end) {
  if (end == 0) return {};
  for (size_t bytes = 1; bytes <= 4 && bytes <= end; ++bytes) {
    const Utf8Char character = utf8_at(text, end - bytes);
    if (character.valid && character.bytes == bytes) return character;
  }
  return {static_cast<unsigned char>(text[end - 1]), 1, false};
}

bool is_white_space(uint32_t code) {
  return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

void append_utf8(std::string& to, uint32_t code) {
  if (code < 0x80) {
    to += static_cast<char>(code);
  } else if (code < 0x800) {
    to += static_cast<char>(0xC0 | (code >> 6));
    to += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    to += static_cast<char>(0xE0 | (code >> 12));
    to += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    to += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    to += static_cast<char>(0xF0 | (code >> 18));
    to += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    to += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    to += static_cast<char>(0x80 | (code & 0x3F));
  }
}

bool is_utf8_beginning(std::string_view text) {
  if (text.empty()) return false;
  const Lead lead = lead_of(static_cast<unsigned char>(text[0]));
  return text.size() < lead.bytes && fitting_bytes(text, 0, lead) == text.size();
}

}  // namespace moxie

// Sets of Unicode characters as ranges, and the UTF-8 byte sequences that spell them. Plain functions, thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moxie::grammar {

inline constexpr uint32_t kMaxChar = 0x10FFFF;

struct CharRange {
  uint32_t first, last;  // both included
  bool operator==(const CharRange&) const = default;
};
// Canonical after tidy(): ascending, disjoint, not adjacent, no surrogates (they have no UTF-8).
using CharSet = std::vector<CharRange>;

CharSet tidy(CharSet set);
// These take and return canonical sets.
CharSet complement(const CharSet& set);
CharSet intersect(const CharSet& a, const CharSet& b);
CharSet unite(const CharSet& a, const CharSet& b);
bool contains(const CharSet& set, uint32_t character);
const CharSet& any_char();

struct ByteRange {
  uint8_t first, last;
};
// One to four byte ranges in a row: every choice of a byte from each is the UTF-8 of one character.
struct Utf8Ranges {
  std::array<ByteRange, 4> bytes;
  int length;
};
std::vector<Utf8Ranges> utf8_ranges(const CharSet& set);

void append_utf8(std::string& text, uint32_t character);
// The character at `at`, which moves behind it; false for bytes that are no UTF-8.
bool next_utf8(std::string_view text, size_t& at, uint32_t& character);

}  // namespace moxie::grammar

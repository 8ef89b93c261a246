#include "grammar/char_set.h"

#include <algorithm>

namespace moxie::grammar {
namespace {

constexpr uint32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

int encode(uint32_t c, std::array<uint8_t, 4>& bytes) {
  if (c < 0x80) {
    bytes[0] = static_cast<uint8_t>(c);
    return 1;
  }
  const int length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = length - 1; i > 0; --i) {
    bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(0x80 | (c & 0x3F));
    c >>= 6;
  }
  constexpr uint8_t kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  bytes[0] = static_cast<uint8_t>(kLead[length] | c);
  return length;
}

// REQUIRES: both ends have the same number of bytes. Splits until all but a prefix of equal bytes spans whole blocks.
void split(uint32_t first, uint32_t last, std::vector<Utf8Ranges>& out) {
  std::array<uint8_t, 4> low, high;
  const int length = encode(first, low);
  encode(last, high);
  for (int i = 1; i < length; ++i) {
    const uint32_t block = (1u << (6 * i)) - 1;
    if ((first & ~block) == (last & ~block)) continue;
    if ((first & block) != 0) {
      split(first, first | block, out);
      split((first | block) + 1, last, out);
      return;
    }
    if ((last & block) != block) {
      split(first, (last & ~block) - 1, out);
      split(last & ~block, last, out);
      return;
    }
  }
  Utf8Ranges ranges{{}, length};
  for (size_t i = 0; i < static_cast<size_t>(length); ++i) ranges.bytes[i] = {low[i], high[i]};
  out.push_back(ranges);
}

}  // namespace

CharSet tidy(CharSet set) {
  CharSet clipped;
  for (CharRange range : set) {
    range.last = std::min(range.last, kMaxChar);
    if (range.first > range.last) continue;
    if (range.first < kFirstSurrogate) clipped.push_back({range.first, std::min(range.last, kFirstSurrogate - 1)});
    if (range.last > kLastSurrogate) clipped.push_back({std::max(range.first, kLastSurrogate + 1), range.last});
  }
  std::sort(clipped.begin(), clipped.end(), [](CharRange a, CharRange b) { return a.first < b.first; });
  CharSet out;
  for (const CharRange range : clipped) {
    if (!out.empty() && range.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, range.last);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

CharSet complement(const CharSet& set) {
  CharSet out;
  uint32_t next = 0;
  for (const CharRange range : set) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kMaxChar) out.push_back({next, kMaxChar});
  return tidy(std::move(out));
}

CharSet intersect(const CharSet& a, const CharSet& b) {
  CharSet out;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const uint32_t first = std::max(a[i].first, b[j].first);
    const uint32_t last = std::min(a[i].last, b[j].last);
    if (first <= last) out.push_back({first, last});
    (a[i].last < b[j].last ? i : j) += 1;
  }
  return out;
}

CharSet unite(const CharSet& a, const CharSet& b) {
  CharSet both = a;
  both.insert(both.end(), b.begin(), b.end());
  return tidy(std::move(both));
}

bool contains(const CharSet& set, uint32_t character) {
  const auto after = std::upper_bound(set.begin(), set.end(), character,
                                      [](uint32_t value, const CharRange& range) { return value < range.first; });
  return after != set.begin() && character <= std::prev(after)->last;
}

const CharSet& any_char() {
  static const CharSet any = complement({});
  return any;
}

std::vector<Utf8Ranges> utf8_ranges(const CharSet& set) {
  std::vector<Utf8Ranges> out;
  constexpr CharRange kLengths[] = {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xFFFF}, {0x10000, kMaxChar}};
  for (const CharRange range : set) {
    for (const CharRange same : kLengths) {
      const uint32_t first = std::max(range.first, same.first);
      const uint32_t last = std::min(range.last, same.last);
      if (first <= last) split(first, last, out);
    }
  }
  return out;
}

void append_utf8(std::string& text, uint32_t character) {
  std::array<uint8_t, 4> bytes;
  const int length = encode(character, bytes);
  for (size_t i = 0; i < static_cast<size_t>(length); ++i) text.push_back(static_cast<char>(bytes[i]));
}

bool next_utf8(std::string_view text, size_t& at, uint32_t& character) {
  const uint8_t lead = static_cast<uint8_t>(text[at]);
  const int length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() - at < static_cast<size_t>(length)) return false;
  uint32_t value = length == 1 ? lead : lead & (0x7Fu >> length);
  for (size_t i = 1; i < static_cast<size_t>(length); ++i) {
    const uint8_t byte = static_cast<uint8_t>(text[at + i]);
    if ((byte & 0xC0) != 0x80) return false;
    value = value << 6 | (byte & 0x3F);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[length] || value > kMaxChar || (value >= kFirstSurrogate && value <= kLastSurrogate)) return false;
  at += static_cast<size_t>(length);
  character = value;
  return true;
}

}  // namespace moxie::grammar

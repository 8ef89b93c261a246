#include "cli/text_column.h"

#include <algorithm>
#include <iterator>

namespace moxie::cli {
namespace {

struct Range {
  uint32_t first, last;
};

// Blocks, not single characters: near enough to know where a row ends.
constexpr Range kCombining[] = {{0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD},
                                {0x064B, 0x065F}, {0x200B, 0x200F}, {0x20D0, 0x20FF},
                                {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xE0100, 0xE01EF}};
constexpr Range kWide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},  {0x3041, 0x4DBF},   {0x4E00, 0xA4CF},
                           {0xA960, 0xA97F},   {0xAC00, 0xD7A3},  {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},
                           {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},  {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF},
                           {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};

template <size_t N>
bool within(const Range (&ranges)[N], uint32_t code) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [&](const Range& range) { return code >= range.first && code <= range.last; });
}

}  // namespace

int columns_of_character(uint32_t code) {
  if (code < 0x20 || (code >= 0x7F && code < 0xA0) || within(kCombining, code)) return 0;
  return within(kWide, code) ? 2 : 1;
}

void TextColumn::add(std::string_view text) {
  constexpr int64_t kTab = 8;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char next = utf8_at(text, at);
    at += next.bytes;
    if (escape_ == Escape::began) {
      escape_ = next.code == '[' ? Escape::sequence : Escape::none;
    } else if (escape_ == Escape::sequence) {
      if (next.code >= 0x40 && next.code <= 0x7E) escape_ = Escape::none;
    } else if (next.code == 0x1B) {
      escape_ = Escape::began;
    } else if (next.code == '\n' || next.code == '\r') {
      column_ = 0;
    } else if (next.code == '\b') {
      column_ = std::max<int64_t>(column_ - 1, 0);
    } else if (next.code == '\t') {
      const int64_t in_row = column_ % row_;
      column_ += std::min(kTab - in_row % kTab, row_ - 1 - in_row);  // a tab never ends a row
    } else {
      const int columns = columns_of_character(next.code);
      if (columns == 2 && column_ % row_ == row_ - 1) ++column_;  // there is no half of it
      column_ += columns;
    }
  }
}

}  // namespace moxie::cli

// FP8 (e4m3): part 0 the numbers, part 1 a scale for every block of group_rows rows and `group` columns, or for every
// row, or one for all. value = number * scale.
#include "quant/parted_float.h"
#include "quant/parted_numbers.h"

namespace moxie::MOXIE_TARGET {
namespace {

// 256 floats: a look-up beats taking bits apart.
struct Table {
  float values[256];
};
const float* e4m3_values() {
  static const Table table = [] {
    Table all;
    for (int i = 0; i < 256; ++i) all.values[i] = e4m3_to_float(static_cast<uint8_t>(i));
    return all;
  }();
  return table.values;
}

void decode(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const PartedLayout& layout = from.layout;
  const int64_t groups = (layout.columns + layout.group - 1) / layout.group, line = row / layout.group_rows * groups;
  const std::byte* numbers = from.part[0] + row * layout.columns;
  const float* values = e4m3_values();
  for (int64_t at = column; at < column + count;) {
    const int64_t group = at / layout.group, end = (group + 1) * layout.group;
    const int64_t stop = end < column + count ? end : column + count;
    const float scale = read_number(layout.scales, from.part[1], line + group);
    for (; at < stop; ++at) to[at - column] = values[static_cast<uint8_t>(numbers[at])] * scale;
  }
}

}  // namespace

extern constinit const QuantType fp8 =
    make_decoded_type<decode>({.name = "fp8", .summary = "8-bit floats (e4m3) with scales for blocks, rows or all"});

}  // namespace moxie::MOXIE_TARGET

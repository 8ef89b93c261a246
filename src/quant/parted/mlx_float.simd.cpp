// MLX's floating-point modes, and what GPT-OSS checkpoints hold: part 0 numbers of 4 bits (e2m1, the first in the low
// half of a byte) or of 8 (e4m3), part 1 a scale of one byte (e8m0, or e4m3) for every group of columns, times
// `constant` unless that is 0. Rows may lie in turn with those of another matrix. mxfp4 has a product of its own.
#include "quant/byte_products.h"
#include "quant/four_bit_tables.h"
#include "quant/parted_float.h"
#include "quant/parted_rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

// REQUIRES: an even column.
void decode(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const PartedLayout& layout = from.layout;
  const int64_t number = layout.row_begin + row * layout.row_step;
  const std::byte* numbers = from.part[0] + number * (layout.columns * layout.bits / 8);
  const std::byte* scales = from.part[1] + number * (layout.columns / layout.group);
  const float all = layout.constant == 0 ? 1 : layout.constant;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = column + i;
    const float scale = all * read_number(layout.scales, scales, at / layout.group);
    if (layout.bits == 4) {
      const auto two = static_cast<uint8_t>(numbers[at / 2]);
      to[i] = scale * (0.5f * static_cast<float>(kTwiceE2m1[at % 2 == 0 ? two & 15 : two >> 4]));
    } else {
      to[i] = scale * e4m3_to_float(static_cast<uint8_t>(numbers[at]));
    }
  }
}

struct Product {
  using Block = SequentialNibbles;
  struct Groups {
    LaneNumbers<ScaleFormat::e8m0, 1> scales;
    void begin(const PartedWeights& weights, const int64_t (&rows)[kLanes]) { scales.begin(weights, rows); }
    // Half of each, since the table holds twice the values.
    MOXIE_INLINE void load(int64_t group, FloatVec& scale, FloatVec&) const { scale = scales.at(group) * 0.5f; }
  };
  static constexpr bool kSigned = true, kMinimum = false;
  static constexpr int kLargest = 12, kOffset = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) {
    Bytes64 bytes = load_sequential_nibbles(a, b);
    for (ByteVec& part : bytes.part) part = (ByteVec)look_up(kTwiceE2m1, part);
    return bytes;
  }
};

}  // namespace

extern constinit const QuantType mlx_mxfp4 = make_parted_type<decode, multiply_parted_rows<Product>>(
    {.name = "mlx_mxfp4", .summary = "4-bit floats in groups of 32, one power of two each", .twin = "mxfp4"});
extern constinit const QuantType mlx_float =
    make_decoded_type<decode>({.name = "mlx_float", .summary = "mxfp8 and nvfp4"});

}  // namespace moxie::MOXIE_TARGET

// compressed-tensors, "pack-quantized": part 0 the integers, each row one stream of bits; part 1 scales for groups of
// columns; part 2, where zero points are not in the middle, those, packed along the rows into 32-bit words (row,
// group). value = scale * (integer - zero point), the middle being 2 ^ (bits - 1). packed_order: part 2 the group of
// every column, part 3 the zero points. int8_rows: part 0 signed bytes, part 1 a scale for every row, or one for all.
#include "quant/parted_float.h"
#include "quant/parted_rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

// The zero point of a row: rows / (32 / bits) lines of one word for every group.
template <int kPart = 2>
MOXIE_INLINE float zero_point(const PartedWeights& from, int64_t row, int64_t group, int64_t groups) {
  const PartedLayout& layout = from.layout;
  if (from.part[kPart] == nullptr) return static_cast<float>(1 << (layout.bits - 1));
  const int64_t per_word = 32 / layout.bits, line = row / per_word;
  uint32_t word;
  std::memcpy(&word, from.part[kPart] + (line * groups + group) * 4, sizeof word);
  return static_cast<float>(word >> (row % per_word * layout.bits) & ((1u << layout.bits) - 1));
}

template <bool kOrder>
void decode(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const PartedLayout& layout = from.layout;
  const int64_t groups = layout.columns / layout.group;
  const std::byte* numbers = from.part[0] + row * (layout.columns * layout.bits / 8);
  for (int64_t i = column; i < column + count; ++i) {
    int64_t group = i / layout.group;
    if constexpr (kOrder) {
      int32_t given;
      std::memcpy(&given, from.part[2] + i * 4, sizeof given);
      group = given >= 0 && given < groups ? given : 0;
    }
    const float scale = read_number(layout.scales, from.part[1], row * groups + group);
    const auto byte = static_cast<uint32_t>(numbers[i * layout.bits / 8]);
    const uint32_t number = layout.bits == 8 ? byte : i % 2 == 0 ? byte & 15 : byte >> 4;
    to[i - column] = scale * (static_cast<float>(number) - zero_point < kOrder ? 3 : 2 > (from, row, group, groups));
  }
}

MOXIE_INLINE float row_scale(const PartedWeights& from, int64_t row) {
  return read_number(from.layout.scales, from.part[1], row / from.layout.group_rows);
}

void decode_rows(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const float scale = row_scale(from, row);
  const std::byte* numbers = from.part[0] + row * from.layout.columns + column;
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(static_cast<int8_t>(numbers[i])) * scale;
}

struct [[gnu::packed]] RowBytes32 {
  int8_t bytes[32];
};
struct RowBytes {
  using Block = RowBytes32;
  struct Groups {
    FloatVec scales;
    void begin(const PartedWeights& from, const int64_t (&rows)[kLanes]) {
      float lanes[kLanes];
      for (int r = 0; r < kLanes; ++r) lanes[r] = row_scale(from, rows[r]);
      scales = MOXIE_TARGET::load(lanes);
    }
    MOXIE_INLINE void load(int64_t, FloatVec& scale, FloatVec&) const { scale = scales; }
  };
  static constexpr bool kSigned = true, kMinimum = false;
  static constexpr int kLargest = 128, kOffset = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) { return load_32_32(a.bytes, b.bytes); }
};

template <ScaleFormat kFormat>
struct FourBits {
  using Block = SequentialNibbles;
  struct Groups {
    LaneNumbers<kFormat, 1> scales;
    const PartedWeights* weights;
    int64_t rows[kLanes], groups;
    void begin(const PartedWeights& from, const int64_t (&numbers)[kLanes]) {
      scales.begin(from, numbers);
      weights = &from;
      groups = from.layout.columns / from.layout.group;
      for (int r = 0; r < kLanes; ++r) rows[r] = numbers[r];
    }
    MOXIE_INLINE void load(int64_t group, FloatVec& scale, FloatVec& minimum) const {
      float zeros[kLanes];
      for (int r = 0; r < kLanes; ++r) zeros[r] = -zero_point(*weights, rows[r], group, groups);
      scale = scales.at(group);
      minimum = MOXIE_TARGET::load(zeros) * scale;
    }
  };
  static constexpr bool kSigned = false, kMinimum = true;
  static constexpr int kLargest = 15, kOffset = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) { return load_sequential_nibbles(a, b); }
};

void multiply(const MultiplyArgs& args) {
  switch (args.parted->layout.scales) {
    case ScaleFormat::f16:
      return multiply_parted_rows<FourBits<ScaleFormat::f16>>(args);
    case ScaleFormat::bf16:
      return multiply_parted_rows<FourBits<ScaleFormat::bf16>>(args);
    default:
      return multiply_parted_rows<FourBits<ScaleFormat::f32>>(args);
  }
}

}  // namespace

extern constinit const QuantType packed4 = make_parted_type<decode<false>, multiply>(
    {.name = "packed4", .summary = "compressed-tensors 4 bits in groups of whole 32s"});
extern constinit const QuantType packed =
    make_decoded_type<decode<false>>({.name = "packed", .summary = "compressed-tensors 8 bits, or in other groups"});
extern constinit const QuantType packed_order = make_decoded_type<decode<true>>(
    {.name = "packed_order", .summary = "compressed-tensors with inputs in another order"});
extern constinit const QuantType int8_rows = make_parted_type<decode_rows, multiply_parted_rows<RowBytes>>(
    {.name = "int8_rows", .summary = "compressed-tensors int8, a scale for every row"});

}  // namespace moxie::MOXIE_TARGET

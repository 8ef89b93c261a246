// AWQ, as its GEMM kernels take it: part 0 the integers (input, output), part 1 zero points (group, output), both eight
// numbers of 4 bits to a 32-bit word, the even ones of eight before the odd; part 2 scales (group, output). value =
// (integer - zero point) * scale. Half-precision scales of whole 32s have a product of their own.
#include "quant/parted_columns.h"
#include "quant/parted_float.h"

namespace moxie::MOXIE_TARGET {
namespace {

typedef uint8_t Bytes16 __attribute__((vector_size(16), may_alias));

// Which nibble of its word output m of eight is in.
constexpr int kNibbleOf[8] = {0, 4, 1, 5, 2, 6, 3, 7};

MOXIE_INLINE uint32_t number_at(const std::byte* words, int64_t output) {
  const int nibble = kNibbleOf[output % 8];
  const auto two = static_cast<uint32_t>(words[output / 8 * 4 + nibble / 2]);
  return nibble % 2 == 0 ? two & 15 : two >> 4;
}

void decode(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const PartedLayout& layout = from.layout;
  const int64_t line = layout.rows / 2;
  for (int64_t i = column; i < column + count; ++i) {
    const int64_t group = i / layout.group;
    const float zero = static_cast<float>(number_at(from.part[1] + group * line, row));
    const float scale = read_number(layout.scales, from.part[2], group * layout.rows + row);
    to[i - column] = (static_cast<float>(number_at(from.part[0] + i * line, row)) - zero) * scale;
  }
}

// 16 outputs of two words, in order.
MOXIE_INLINE Bytes16 ordered(const std::byte* words, int bytes) {
  Bytes16 raw = {};
  if (bytes == 8) {
    std::memcpy(&raw, words, 8);
  } else {
    std::memcpy(&raw, words, 4);
  }
  const Bytes16 low = raw & 15, high = raw >> 4;
  return __builtin_shufflevector(low, high, 0, 2, 16, 18, 1, 3, 17, 19, 4, 6, 20, 22, 5, 7, 21, 23);
}

class Source {
 public:
  void begin(const PartedWeights& weights, int64_t row, int count) {
    weights_ = &weights;
    rows_ = weights.layout.rows;
    words_ = weights.part[0] + row / 8 * 4;
    bytes_ = count > 8 ? 8 : 4;
    row_ = row;
    count_ = count;
  }
  MOXIE_INLINE void values(int64_t block, IntVec (&to)[8]) const {
    const int64_t line = rows_ / 2;
    const std::byte* from = words_ + block * 32 * line;
    for (int i = 0; i < 8; ++i, from += 4 * line) {
      const Bytes16 a = ordered(from, bytes_), b = ordered(from + line, bytes_);
      const Bytes16 c = ordered(from + 2 * line, bytes_), d = ordered(from + 3 * line, bytes_);
      to[i] = interleave(a, b, c, d);
    }
  }
  MOXIE_INLINE void load(int64_t group, FloatVec& scale, FloatVec& minimum) const {
    const std::byte* zeros = weights_->part[1] + group * (rows_ / 2);
    float lanes[kLanes] = {};
    for (int r = 0; r < count_; ++r) lanes[r] = -static_cast<float>(number_at(zeros, row_ + r));
    scale = load_numbers<ScaleFormat::f16>(weights_->part[2], group * rows_ + row_, count_);
    minimum = MOXIE_TARGET::load(lanes) * scale;
  }

 private:
  // Lane r: byte r of a, b, c and d.
  MOXIE_INLINE IntVec interleave(Bytes16 a, Bytes16 b, Bytes16 c, Bytes16 d) const {
    typedef uint16_t Pairs __attribute__((vector_size(16), may_alias));
    const auto low = [](Bytes16 x, Bytes16 y) {
      return (Pairs)__builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    };
    const auto high = [](Bytes16 x, Bytes16 y) {
      return (Pairs)__builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    };
    const auto low_pairs = [](Pairs x, Pairs y) { return __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11); };
    const auto high_pairs = [](Pairs x, Pairs y) { return __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15); };
    const Pairs ab = low(a, b), cd = low(c, d);
    Pairs parts[4] = {low_pairs(ab, cd), high_pairs(ab, cd)};
    IntVec lanes;
    if constexpr (kLanes == 16) {
      const Pairs ab_high = high(a, b), cd_high = high(c, d);
      parts[2] = low_pairs(ab_high, cd_high);
      parts[3] = high_pairs(ab_high, cd_high);
      std::memcpy(&lanes, parts, sizeof lanes);
    } else if constexpr (kLanes == 8) {
      std::memcpy(&lanes, parts, sizeof lanes);
    } else {
      std::memcpy(&lanes, &parts[row_ % 8 / 4], sizeof lanes);
    }
    return lanes;
  }
  const PartedWeights* weights_;
  const std::byte* words_;
  int64_t rows_, row_;
  int bytes_, count_;
};

struct Product {
  using Source = MOXIE_TARGET::Source;
  static constexpr bool kSigned = false, kMinimum = true;
  static constexpr int kLargest = 15, kOffset = 0;
};

}  // namespace

extern constinit const QuantType awq4 = make_parted_type<decode, multiply_parted_columns<Product>>(
    {.name = "awq4", .summary = "AWQ 4 bits (GEMM) in groups of whole 32s"});
extern constinit const QuantType awq =
    make_decoded_type<decode>({.name = "awq", .summary = "AWQ 4 bits (GEMM) in other groups"});

}  // namespace moxie::MOXIE_TARGET

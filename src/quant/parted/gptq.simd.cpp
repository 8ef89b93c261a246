// GPTQ: part 0 the integers, 32-bit words of a stream along the inputs, the words of all outputs side by side; part 1
// zero points, for every group a stream along the outputs; part 2 scales (group, output); part 3, where
// inputs are in no order of groups, the group of every input. value = scale * (integer - zero point), of which
// zero_step more is meant than is stored. 4 bits in order with half-precision scales have a product of their own.
#include "quant/parted_columns.h"
#include "quant/parted_float.h"

namespace moxie::MOXIE_TARGET {
namespace {

MOXIE_INLINE uint32_t load_u32(const std::byte* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Number `index` of `bits` bits in a stream of bytes.
MOXIE_INLINE uint32_t stream_number(const std::byte* stream, int64_t index, int bits) {
  const int64_t bit = index * bits;
  const int shift = static_cast<int>(bit % 8);
  uint32_t both = static_cast<uint32_t>(stream[bit / 8]);
  if (shift + bits > 8) both |= static_cast<uint32_t>(stream[bit / 8 + 1]) << 8;
  return both >> shift & ((1u << bits) - 1);
}

MOXIE_INLINE int64_t group_of(const PartedWeights& from, int64_t column, int64_t groups) {
  if (from.part[3] == nullptr) return column / from.layout.group;
  const auto group = static_cast<int32_t>(load_u32(from.part[3] + column * 4));
  return (group % groups + groups) % groups;  // some files count from behind
}

void decode(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const PartedLayout& layout = from.layout;
  const int bits = layout.bits;
  const int64_t groups = (layout.columns + layout.group - 1) / layout.group, zero_bytes = layout.rows * bits / 8;
  const uint32_t mask = (1u << bits) - 1;
  int64_t group = -1;
  float scale = 0, zero = 0;
  for (int64_t i = column; i < column + count; ++i) {
    if (const int64_t g = group_of(from, i, groups); g != group) {
      group = g;
      const uint32_t stored = stream_number(from.part[1] + g * zero_bytes, row, bits);
      zero = static_cast<float>((stored + static_cast<uint32_t>(layout.zero_step)) & mask);
      scale = read_number(layout.scales, from.part[2], g * layout.rows + row);
    }
    const int64_t bit = i * bits, word = bit / 32;
    const int shift = static_cast<int>(bit % 32);
    uint32_t number = load_u32(from.part[0] + (word * layout.rows + row) * 4) >> shift;
    if (shift + bits > 32) number |= load_u32(from.part[0] + ((word + 1) * layout.rows + row) * 4) << (32 - shift);
    to[i - column] = scale * (static_cast<float>(number & mask) - zero);
  }
}

class FourBitSource {
 public:
  void begin(const PartedWeights& weights, int64_t row, int count) {
    weights_ = &weights;
    rows_ = weights.layout.rows;
    words_ = weights.part[0] + row * 4;
    row_ = row;
    count_ = count;
  }
  MOXIE_INLINE void values(int64_t block, IntVec (&to)[8]) const {
    const std::byte* from = words_ + block * 4 * rows_ * 4;
    for (int i = 0; i < 4; ++i, from += rows_ * 4) {
      IntVec words = {};
      if (count_ == kLanes) {
        std::memcpy(&words, from, sizeof words);
      } else {
        std::memcpy(&words, from, static_cast<size_t>(count_) * 4);
      }
      to[2 * i] = spread(words & 0xffff);
      to[2 * i + 1] = spread((words >> 16) & 0xffff);
    }
  }
  MOXIE_INLINE void load(int64_t group, FloatVec& scale, FloatVec& minimum) const {
    const std::byte* zeros = weights_->part[1] + group * (rows_ / 2);
    float lanes[kLanes] = {};
    for (int r = 0; r < count_; ++r) {
      const auto two = static_cast<uint32_t>(zeros[(row_ + r) / 2]);
      const uint32_t stored = (row_ + r) % 2 == 0 ? two & 15 : two >> 4;
      lanes[r] = -static_cast<float>((stored + static_cast<uint32_t>(weights_->layout.zero_step)) & 15);
    }
    scale = load_numbers<ScaleFormat::f16>(weights_->part[2], group * rows_ + row_, count_);
    minimum = MOXIE_TARGET::load(lanes) * scale;
  }

 private:
  // Four nibbles to four bytes.
  MOXIE_INLINE static IntVec spread(IntVec x) {
    x = (x | (x << 8)) & 0x00ff00ff;
    return (x | (x << 4)) & 0x0f0f0f0f;
  }
  const PartedWeights* weights_;
  const std::byte* words_;
  int64_t rows_, row_;
  int count_;
};

struct FourBits {
  using Source = FourBitSource;
  static constexpr bool kSigned = false, kMinimum = true;
  static constexpr int kLargest = 15, kOffset = 0;
};

}  // namespace

extern constinit const QuantType gptq4 = make_parted_type<decode, multiply_parted_columns<FourBits>>(
    {.name = "gptq4", .summary = "GPTQ 4 bits, inputs in order, groups of whole 32s"});
extern constinit const QuantType gptq =
    make_decoded_type<decode>({.name = "gptq", .summary = "GPTQ of other widths, or with inputs in another order"});

}  // namespace moxie::MOXIE_TARGET

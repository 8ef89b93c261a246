// 32 values of 5 bits with a half-precision scale and minimum: 6 bits per value.
#include "quant/fit_scale.h"
#include "quant/multiply_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint16_t minimum;
  uint32_t fifth_bits;  // bit e: of value e
  uint8_t nibbles[16];  // byte i: values i (low nibble) and i + 16
};
static_assert(sizeof(Block) == 24);

void encode(const float* from, const float* importance, Block* to) {
  const Fit<32> fit = fit_with_minimum<32, 31>(from, importance);
  to->scale = f16_from_float(fit.scale);
  to->minimum = f16_from_float(fit.minimum);
  to->fifth_bits = pack_fifth_bits(fit.levels, 0);
  pack_nibbles(fit.levels, 0, to->nibbles);
}

void decode(const Block& from, float* to) {
  const float scale = half_to_float(from.scale), minimum = half_to_float(from.minimum);
  const uint32_t fifth = from.fifth_bits;
  for (int i = 0; i < 16; ++i) {
    const int low = (from.nibbles[i] & 15) | static_cast<int>(fifth >> i & 1) << 4;
    const int high = from.nibbles[i] >> 4 | static_cast<int>(fifth >> (i + 16) & 1) << 4;
    to[i] = scale * static_cast<float>(low) + minimum;
    to[i + 16] = scale * static_cast<float>(high) + minimum;
  }
}

struct Product {
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kSigned = false, kMinimum = true;
  static constexpr int kLargest = 31, kOffset = 0;
  static constexpr size_t kScaleAt = 0, kMinimumAt = 2;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) {
    return load_nibbles(a.nibbles, b.nibbles) | spread_bits(a.fifth_bits, b.fifth_bits, 16);
  }
  MOXIE_INLINE static Bytes quants(LaneWords words, int i) {
    return planes<16, 4>(words + 1, i) | fifth_bits(words[0], i);
  }
};

}  // namespace

extern constinit const QuantType q5_1 = make_quant_type<Block, 32, encode, decode, multiply_32<Product>>({
    .name = "q5_1",
    .summary = "6 bits, plain with a minimum",
    .gguf_id = 7,
    .max_relative_error = 0.036f,
    .activations = ActFormat::q8_32,
    .halves_at = Product::kScaleAt,
    .halves = 2,
});

}  // namespace moxie::MOXIE_TARGET

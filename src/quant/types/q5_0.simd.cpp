// 32 values of 5 bits (-16 to 15) share one half-precision scale: 5.5 bits per value.
#include "quant/fit_scale.h"
#include "quant/multiply_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint32_t fifth_bits;  // bit e: of value e
  uint8_t nibbles[16];  // byte i: values i (low nibble) and i + 16
};
static_assert(sizeof(Block) == 22);

void encode(const float* from, const float* importance, Block* to) {
  const Fit<32> fit = fit_symmetric<32, 16>(from, importance);
  to->scale = f16_from_float(fit.scale);
  to->fifth_bits = pack_fifth_bits(fit.levels, 16);
  pack_nibbles(fit.levels, 16, to->nibbles);
}

void decode(const Block& from, float* to) {
  const float scale = half_to_float(from.scale);
  const uint32_t fifth = from.fifth_bits;
  for (int i = 0; i < 16; ++i) {
    const int low = (from.nibbles[i] & 15) | static_cast<int>(fifth >> i & 1) << 4;
    const int high = from.nibbles[i] >> 4 | static_cast<int>(fifth >> (i + 16) & 1) << 4;
    to[i] = scale * static_cast<float>(low - 16);
    to[i + 16] = scale * static_cast<float>(high - 16);
  }
}

struct Product {
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kSigned = false, kMinimum = false;
  static constexpr int kLargest = 31, kOffset = 16;
  static constexpr size_t kScaleAt = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) {
    return load_nibbles(a.nibbles, b.nibbles) | spread_bits(a.fifth_bits, b.fifth_bits, 16);
  }
  MOXIE_INLINE static Bytes quants(LaneWords words, int i) {
    return planes<16, 4>(words + 1, i) | fifth_bits(words[0], i);
  }
};

}  // namespace

extern constinit const QuantType q5_0 = make_quant_type<Block, 32, encode, decode, multiply_32<Product>>({
    .name = "q5_0",
    .summary = "5.5 bits, plain",
    .gguf_id = 6,
    .max_relative_error = 0.043f,
    .activations = ActFormat::q8_32,
    .halves_at = Product::kScaleAt,
    .halves = 1,
});

}  // namespace moxie::MOXIE_TARGET

// 32 values of 4 bits with a half-precision scale and minimum: 5 bits per value.
#include "quant/fit_scale.h"
#include "quant/multiply_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint16_t minimum;
  uint8_t nibbles[16];  // byte i: values i (low nibble) and i + 16
};
static_assert(sizeof(Block) == 20);

void encode(const float* from, const float* importance, Block* to) {
  const Fit<32> fit = fit_with_minimum<32, 15>(from, importance);
  to->scale = f16_from_float(fit.scale);
  to->minimum = f16_from_float(fit.minimum);
  pack_nibbles(fit.levels, 0, to->nibbles);
}

void decode(const Block& from, float* to) {
  const float scale = half_to_float(from.scale), minimum = half_to_float(from.minimum);
  for (int i = 0; i < 16; ++i) {
    const int low = from.nibbles[i] & 15, high = from.nibbles[i] >> 4;
    to[i] = scale * static_cast<float>(low) + minimum;
    to[i + 16] = scale * static_cast<float>(high) + minimum;
  }
}

struct Product {
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kSigned = false, kMinimum = true;
  static constexpr int kLargest = 15, kOffset = 0;
  static constexpr size_t kScaleAt = 0, kMinimumAt = 2;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) { return load_nibbles(a.nibbles, b.nibbles); }
  MOXIE_INLINE static Bytes quants(LaneWords words, int i) { return planes<16, 4>(words, i); }
};

}  // namespace

extern constinit const QuantType q4_1 = make_quant_type<Block, 32, encode, decode, multiply_32<Product>>({
    .name = "q4_1",
    .summary = "5 bits, plain with a minimum",
    .gguf_id = 3,
    .max_relative_error = 0.075f,
    .activations = ActFormat::q8_32,
    .halves_at = Product::kScaleAt,
    .halves = 2,
});

}  // namespace moxie::MOXIE_TARGET

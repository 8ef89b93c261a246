// 32 values of 4 bits (-8 to 7) share one half-precision scale: 4.5 bits per value.
#include "quant/fit_scale.h"
#include "quant/multiply_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint8_t nibbles[16];  // byte i: values i (low nibble) and i + 16
};
static_assert(sizeof(Block) == 18);

void encode(const float* from, const float* importance, Block* to) {
  const Fit<32> fit = fit_symmetric<32, 8>(from, importance);
  to->scale = f16_from_float(fit.scale);
  pack_nibbles(fit.levels, 8, to->nibbles);
}

void decode(const Block& from, float* to) {
  const float scale = half_to_float(from.scale);
  for (int i = 0; i < 16; ++i) {
    const int low = from.nibbles[i] & 15, high = from.nibbles[i] >> 4;
    to[i] = scale * static_cast<float>(low - 8);
    to[i + 16] = scale * static_cast<float>(high - 8);
  }
}

struct Product {
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kSigned = false, kMinimum = false;
  static constexpr int kLargest = 15, kOffset = 8;
  static constexpr size_t kScaleAt = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) { return load_nibbles(a.nibbles, b.nibbles); }
  MOXIE_INLINE static Bytes quants(LaneWords words, int i) { return planes<16, 4>(words, i); }
};

}  // namespace

extern constinit const QuantType q4_0 = make_quant_type<Block, 32, encode, decode, multiply_32<Product>>({
    .name = "q4_0",
    .summary = "4.5 bits, plain",
    .gguf_id = 2,
    .max_relative_error = 0.085f,
    .activations = ActFormat::q8_32,
    .halves_at = Product::kScaleAt,
    .halves = 1,
});

}  // namespace moxie::MOXIE_TARGET

// 32 int8 values share one half-precision scale: 8.5 bits per value.
#include "quant/multiply_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  int8_t values[32];
};
static_assert(sizeof(Block) == 34);

void encode(const float* from, const float*, Block* to) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) {
    const float magnitude = __builtin_fabsf(from[i]);
    if (magnitude > largest) largest = magnitude;
  }
  const float wanted = largest / 127;
  to->scale = f16_from_float(wanted > 65504.0f ? 65504.0f : wanted);
  const float scale = float_from_f16(to->scale);
  const float inverse = scale == 0 ? 0 : 1 / scale;
  for (int i = 0; i < 32; ++i) to->values[i] = static_cast<int8_t>(round_clamped(from[i] * inverse, -127, 127));
}

void decode(const Block& from, float* to) {
  const float scale = half_to_float(from.scale);
  for (int i = 0; i < 32; ++i) to[i] = scale * static_cast<float>(from.values[i]);
}

struct Product {
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kSigned = true, kMinimum = false;
  static constexpr int kLargest = 127, kOffset = 0;
  static constexpr size_t kScaleAt = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) { return load_32_32(a.values, b.values); }
  MOXIE_INLINE static IntVec quants(LaneWords words, int i) { return words[i]; }
};

}  // namespace

extern constinit const QuantType q8_0 = make_quant_type<Block, 32, encode, decode, multiply_32<Product>>({
    .name = "q8_0",
    .summary = "8-bit, near lossless",
    .gguf_id = 8,
    .max_relative_error = 0.006f,
    .activations = ActFormat::q8_32,
    .halves_at = Product::kScaleAt,
    .halves = 1,
});

}  // namespace moxie::MOXIE_TARGET

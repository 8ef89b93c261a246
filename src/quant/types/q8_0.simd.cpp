// 32 int8 values share one half-precision scale: 8.5 bits per value.
#include "quant/make_quant_type.h"

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

float dot(const Block* weights, const ActBlock32* x, int64_t blocks) {
  float sum = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    int32_t exact = 0;
    for (int i = 0; i < 32; ++i) exact += weights[b].values[i] * x[b].values[i];
    sum = fma(static_cast<float>(exact), half_to_float(weights[b].scale) * x[b].scale, sum);
  }
  return sum;
}

}  // namespace

extern constinit const QuantType q8_0 = make_quant_type<Block, 32, encode, decode, dot>(
    {.name = "q8_0", .summary = "8-bit, near lossless", .gguf_id = 8, .max_relative_error = 0.006f});

}  // namespace moxie::MOXIE_TARGET

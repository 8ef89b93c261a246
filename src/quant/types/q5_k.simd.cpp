// 256 values in 8 sub-blocks of 32: 5 bits each, a 6-bit scale and a 6-bit minimum per sub-block. 5.5 bits per value.
#include "quant/k_scales.h"
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint16_t minimum;
  uint8_t scales[12];
  uint8_t high[32];     // bit s of byte l: the fifth bit of element 32 * s + l
  uint8_t quants[128];  // the four low bits, as in q4_k
};
static_assert(sizeof(Block) == 176);

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale), dmin = half_to_float(from.minimum);
  uint8_t scales[8], minima[8];
  unpack_6bit_pairs(from.scales, scales, minima);
  for (int sub = 0; sub < 8; ++sub) {
    const float scale = d * static_cast<float>(scales[sub]);
    const float minimum = dmin * static_cast<float>(minima[sub]);
    const uint8_t* quants = from.quants + 32 * (sub / 2);
    const int shift = 4 * (sub % 2);
    for (int i = 0; i < 32; ++i) {
      const int q = ((quants[i] >> shift) & 15) | ((from.high[i] >> sub) & 1) << 4;
      to[32 * sub + i] = scale * static_cast<float>(q) - minimum;
    }
  }
}

}  // namespace

extern constinit const QuantType q5_k = make_quant_type<Block, 256, nullptr, decode>(
    {.name = "q5_k", .summary = "5.5 bits, little loss", .gguf_id = 13});

}  // namespace moxie::MOXIE_TARGET

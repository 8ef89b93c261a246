// 256 values in 8 sub-blocks of 32: 4 bits each, a 6-bit scale and a 6-bit minimum per sub-block. 4.5 bits per value.
#include "quant/k_scales.h"
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint16_t minimum;
  uint8_t scales[12];
  uint8_t quants[128];  // byte 32 * p + l: elements 64 * p + l (low nibble) and 64 * p + 32 + l
};
static_assert(sizeof(Block) == 144);

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
      to[32 * sub + i] = scale * static_cast<float>((quants[i] >> shift) & 15) - minimum;
    }
  }
}

}  // namespace

extern constinit const QuantType q4_k = make_quant_type<Block, 256, nullptr, decode>(
    {.name = "q4_k", .summary = "4.5 bits, the usual choice", .gguf_id = 12});

}  // namespace moxie::MOXIE_TARGET

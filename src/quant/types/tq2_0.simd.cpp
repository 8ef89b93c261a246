// 256 values of 2 bits (-1 to 2, ternary models use -1 to 1), one half-precision scale. 2.0625 bits per value. Read
// only.
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint8_t quants[64];  // byte 32 * half + l: elements l, l + 32, l + 64, l + 96 of that half
  uint16_t scale;
};
static_assert(sizeof(Block) == 66);

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  for (int group = 0; group < 8; ++group) {
    const uint8_t* quants = from.quants + 32 * (group / 4);
    for (int i = 0; i < 32; ++i) {
      to[32 * group + i] = d * static_cast<float>(((quants[i] >> (2 * (group % 4))) & 3) - 1);
    }
  }
}

}  // namespace

extern constinit const QuantType tq2_0 = make_quant_type<Block, 256, nullptr, decode>(
    {.name = "tq2_0", .summary = "2.1 bits, ternary models", .gguf_id = 35});

}  // namespace moxie::MOXIE_TARGET

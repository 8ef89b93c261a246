// 64 values of 2 bits (-1 to 2), one half-precision scale. 2.25 bits per value. Read only.
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint8_t quants[16];  // four successive elements a byte, lowest bits first
};
static_assert(sizeof(Block) == 18);

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  for (int i = 0; i < 64; ++i) to[i] = d * static_cast<float>(((from.quants[i / 4] >> (2 * (i % 4))) & 3) - 1);
}

}  // namespace

extern constinit const QuantType q2_0 =
    make_quant_type<Block, 64, nullptr, decode>({.name = "q2_0", .summary = "2.25 bits", .gguf_id = 42});

}  // namespace moxie::MOXIE_TARGET

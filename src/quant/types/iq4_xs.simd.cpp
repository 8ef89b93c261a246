// 256 values in 8 sub-blocks of 32: 4-bit codes of iq4_nl's table, a 6-bit signed scale per sub-block. 4.25 bits per value.
#include "quant/four_bit_tables.h"
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint16_t scales_high;   // two bits per sub-block
  uint8_t scales_low[4];  // four bits per sub-block
  uint8_t quants[128];    // 16 bytes per sub-block: elements l (low nibble) and l + 16
};
static_assert(sizeof(Block) == 136);

// The scale of a sub-block, -32 to 31.
int sub_scale(const Block& from, int sub) {
  const int low = (from.scales_low[sub / 2] >> (4 * (sub % 2))) & 15;
  const int high = (from.scales_high >> (2 * sub)) & 3;
  return (low | high << 4) - 32;
}

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  for (int sub = 0; sub < 8; ++sub) {
    const float scale = d * static_cast<float>(sub_scale(from, sub));
    const uint8_t* quants = from.quants + 16 * sub;
    for (int i = 0; i < 16; ++i) {
      to[32 * sub + i] = scale * static_cast<float>(kIq4Values[quants[i] & 15]);
      to[32 * sub + i + 16] = scale * static_cast<float>(kIq4Values[quants[i] >> 4]);
    }
  }
}

}  // namespace

extern constinit const QuantType iq4_xs = make_quant_type<Block, 256, nullptr, decode>(
    {.name = "iq4_xs", .summary = "4.25 bits, unequal steps", .gguf_id = 23});

}  // namespace moxie::MOXIE_TARGET

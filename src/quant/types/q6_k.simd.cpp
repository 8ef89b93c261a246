// 256 values in 16 sub-blocks of 16: 6 bits each (-32 to 31), an 8-bit signed scale per sub-block. 6.5625 bits per value.
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint8_t low[128];   // byte 64 * h + l: elements l (low nibble) and l + 64 of half h
  uint8_t high[64];   // byte 32 * h + l: the two high bits of elements l, l + 32, l + 64, l + 96 of half h
  int8_t scales[16];
  uint16_t scale;
};
static_assert(sizeof(Block) == 210);

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  for (int sub = 0; sub < 16; ++sub) {
    const float scale = d * static_cast<float>(from.scales[sub]);
    const int half = sub / 8, within = 16 * (sub % 8);  // first element of the sub-block inside its half
    const uint8_t* low = from.low + 64 * half + within % 64;
    const uint8_t* high = from.high + 32 * half + within % 32;
    const int low_shift = 4 * (within / 64), high_shift = 2 * (within / 32);
    for (int i = 0; i < 16; ++i) {
      const int q = ((low[i] >> low_shift) & 15) | ((high[i] >> high_shift) & 3) << 4;
      to[16 * sub + i] = scale * static_cast<float>(q - 32);
    }
  }
}

}  // namespace

extern constinit const QuantType q6_k = make_quant_type<Block, 256, nullptr, decode>(
    {.name = "q6_k", .summary = "6.6 bits, hardly any loss", .gguf_id = 14});

}  // namespace moxie::MOXIE_TARGET

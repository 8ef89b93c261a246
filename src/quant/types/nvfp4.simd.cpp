// 64 values of 4-bit floats (e2m1) in sub-blocks of 16, each with an 8-bit float scale (unsigned e4m3). 4.5 bits per
// value. A file may give the whole matrix one more scale in a companion tensor: that is the model loader's affair. Read
// only.
#include "quant/four_bit_tables.h"
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint8_t scales[4];
  uint8_t quants[32];  // 8 bytes per sub-block: elements l (low nibble) and l + 8
};
static_assert(sizeof(Block) == 36);

// Half of what the byte stands for, since the table holds twice the values. 0x7f (not a number) counts as zero.
float half_scale(uint8_t byte) {
  const uint32_t exponent = (byte >> 3) & 15u, mantissa = byte & 7u;  // the top bit means nothing
  if (byte == 0x7f) return 0.0f;
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
  return float_from_bits((exponent + 119u) << 23 | mantissa << 20);
}

void decode(const Block& from, float* to) {
  for (int sub = 0; sub < 4; ++sub) {
    const float d = half_scale(from.scales[sub]);
    const uint8_t* quants = from.quants + 8 * sub;
    for (int i = 0; i < 8; ++i) {
      to[16 * sub + i] = d * static_cast<float>(kTwiceE2m1[quants[i] & 15]);
      to[16 * sub + i + 8] = d * static_cast<float>(kTwiceE2m1[quants[i] >> 4]);
    }
  }
}

}  // namespace

extern constinit const QuantType nvfp4 = make_quant_type<Block, 64, nullptr, decode>(
    {.name = "nvfp4", .summary = "4.5 bits, 4-bit floats with 8-bit float scales", .gguf_id = 40});

}  // namespace moxie::MOXIE_TARGET

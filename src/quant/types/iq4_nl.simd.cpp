// 32 values of 4 bits from a fixed table of unequal steps, one half-precision scale. 4.5 bits per value.
#include "quant/four_bit_tables.h"
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint8_t quants[16];  // byte l: elements l (low nibble) and l + 16
};
static_assert(sizeof(Block) == 18);

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  for (int i = 0; i < 16; ++i) {
    to[i] = d * static_cast<float>(kIq4Values[from.quants[i] & 15]);
    to[i + 16] = d * static_cast<float>(kIq4Values[from.quants[i] >> 4]);
  }
}

}  // namespace

extern constinit const QuantType iq4_nl = make_quant_type<Block, 32, nullptr, decode>(
    {.name = "iq4_nl", .summary = "4.5 bits, unequal steps, for rows that do not divide by 256", .gguf_id = 20});

}  // namespace moxie::MOXIE_TARGET

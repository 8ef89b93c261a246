// 256 ternary values, five to a byte as base-3 digits, one half-precision scale. 1.6875 bits per value. Read only.
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint8_t fives[48];  // five digits a byte: elements 0 to 159 in the first 32 bytes, 160 to 239 in the other 16
  uint8_t fours[4];   // four digits a byte: elements 240 to 255
  uint16_t scale;
};
static_assert(sizeof(Block) == 54);

// A byte is the digits' value as a fraction of 256, rounded up: each multiplication by 3 moves the next digit above the
// point.
void decode_digits(const uint8_t* bytes, int count, int digits, float d, float* to) {
  int power = 1;
  for (int n = 0; n < digits; ++n, power *= 3) {
    for (int i = 0; i < count; ++i) {
      const int digit = ((bytes[i] * power) & 255) * 3 >> 8;
      to[n * count + i] = d * static_cast<float>(digit - 1);
    }
  }
}

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  decode_digits(from.fives, 32, 5, d, to);
  decode_digits(from.fives + 32, 16, 5, d, to + 160);
  decode_digits(from.fours, 4, 4, d, to + 240);
}

}  // namespace

extern constinit const QuantType tq1_0 = make_quant_type<Block, 256, nullptr, decode>(
    {.name = "tq1_0", .summary = "1.7 bits, ternary models", .gguf_id = 34});

}  // namespace moxie::MOXIE_TARGET

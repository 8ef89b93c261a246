// 128 signs, one half-precision scale. 1.125 bits per value. Read only.
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint8_t bits[16];  // lowest bit first; set: +scale, clear: -scale
};
static_assert(sizeof(Block) == 18);

void decode(const Block& from, float* to) {
  const IntVec d = (IntVec)splat(half_to_float(from.scale));
  IntVec shifts;
  for (int lane = 0; lane < kLanes; ++lane) shifts[lane] = lane;
  for (int i = 0; i < 128; i += 32) {
    int32_t bits;
    std::memcpy(&bits, from.bits + i / 8, sizeof bits);
    for (int j = 0; j < 32; j += kLanes) {
      store(to + i + j, (FloatVec)(d ^ (~(splat_int(bits) >> (shifts + j)) << 31)));  // a clear bit becomes the sign
    }
  }
}

}  // namespace

extern constinit const QuantType q1_0 =
    make_quant_type<Block, 128, nullptr, decode>({.name = "q1_0", .summary = "1.1 bits, signs", .gguf_id = 41});

}  // namespace moxie::MOXIE_TARGET

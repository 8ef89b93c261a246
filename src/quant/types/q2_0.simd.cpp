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
  const FloatVec d = splat(half_to_float(from.scale));
  IntVec shifts;
  for (int lane = 0; lane < kLanes; ++lane) shifts[lane] = 2 * lane;
  for (int i = 0; i < 64; i += kLanes) {
    int32_t quants = 0;  // of kLanes elements
    std::memcpy(&quants, from.quants + i / 4, kLanes / 4);
    store(to + i, d * to_float(((splat_int(quants) >> shifts) & 3) - 1));
  }
}

}  // namespace

extern constinit const QuantType q2_0 =
    make_quant_type<Block, 64, nullptr, decode>({.name = "q2_0", .summary = "2.25 bits", .gguf_id = 42});

}  // namespace moxie::MOXIE_TARGET

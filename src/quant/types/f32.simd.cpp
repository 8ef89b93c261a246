// IEEE single precision.
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  float value;
};
static_assert(sizeof(Block) == 4);

void encode(const float* from, const float*, Block* to) {
  to->value = *from;
}
void decode(const Block& from, float* to) {
  *to = from.value;
}

MOXIE_INLINE FloatVec load_weights(const std::byte* from) {
  return load(reinterpret_cast<const float*>(from));
}
MOXIE_INLINE FloatVec load_weights_part(const std::byte* from, int64_t n) {
  float lanes[kLanes] = {};
  std::memcpy(lanes, from, static_cast<size_t>(n) * sizeof(float));
  return load(lanes);
}

}  // namespace

extern constinit const QuantType f32 =
    make_quant_type<Block, 1, encode, decode, multiply_float<NumberSource<Block, load_weights, load_weights_part>>>({
        .name = "f32",
        .summary = "32-bit float, exact",
        .gguf_id = 0,
    });

}  // namespace moxie::MOXIE_TARGET

// IEEE half precision.
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t bits;
};
static_assert(sizeof(Block) == 2);

void encode(const float* from, const float*, Block* to) {
  to->bits = f16_from_float(*from);
}
void decode(const Block& from, float* to) {
  *to = half_to_float(from.bits);
}

MOXIE_INLINE FloatVec load_weights(const std::byte* from) {
  return load_f16(from);
}
MOXIE_INLINE FloatVec load_weights_part(const std::byte* from, int64_t n) {
  return load_f16_part(from, n);
}

}  // namespace

extern constinit const QuantType f16 =
    make_quant_type<Block, 1, encode, decode, multiply_float<NumberSource<Block, load_weights, load_weights_part>>>({
        .name = "f16",
        .summary = "16-bit float",
        .gguf_id = 1,
        .max_relative_error = 0.0003f,
    });

}  // namespace moxie::MOXIE_TARGET

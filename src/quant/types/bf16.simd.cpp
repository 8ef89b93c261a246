// bfloat16: the upper half of a single-precision number.
#include "quant/interleaved_rows.h"
#include "quant/make_quant_type.h"
#include "quant/rounded_bf16.h"
#include "quant/tiled_bf16.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t bits;
};
static_assert(sizeof(Block) == 2);

void encode(const float* from, const float*, Block* to) {
  to->bits = bf16_from_float(*from);
}
void decode(const Block& from, float* to) {
  *to = float_from_bf16(from.bits);
}

MOXIE_INLINE FloatVec load_weights(const std::byte* from) {
  return load_bf16(from);
}
MOXIE_INLINE FloatVec load_weights_part(const std::byte* from, int64_t n) {
  return load_bf16_part(from, n);
}

void multiply(const MultiplyArgs& args) {
#if defined(__AMX_BF16__)
  const bool nothing = args.rows == 0 || args.columns == 0 || args.tokens == 0;
  if (args.interleaved && !nothing) return multiply_groups(args, multiply_bf16_tiles<true>, multiply_bf16_tiles<false>);
  if (args.columns % 32 == 0 && !nothing) return multiply_bf16_tiles<false>(args);
#endif
  multiply_float<NumberSource<Block, load_weights, load_weights_part>>(args);
}

#if defined(MOXIE_ROUNDED_BF16)
constexpr QuantType rounded = make_quant_type<Block, 1, encode, decode, multiply_rounded>(
    {.name = "bf16",
     .summary = "16-bit float with the range of 32; activations are rounded to it",
     .gguf_id = 30,
     .max_relative_error = 0.0025f,
     .activations = ActFormat::bf16});
#endif

}  // namespace

extern constinit const QuantType bf16 = make_quant_type<Block, 1, encode, decode, multiply>({
  .name = "bf16", .summary = "16-bit float with the range of 32", .gguf_id = 30, .max_relative_error = 0.0025f,
#if defined(__AMX_BF16__)
  .halves_at = 0, .word_bytes = 64,
#elif defined(MOXIE_ROUNDED_BF16)
  .fast = &rounded,
#endif
});

}  // namespace moxie::MOXIE_TARGET

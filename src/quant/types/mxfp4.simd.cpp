// OCP microscaling: 32 values of 4-bit floats (e2m1), one power-of-two scale. 4.25 bits per value. Read only.
#include "quant/byte_products.h"
#include "quant/four_bit_tables.h"
#include "quant/multiply_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint8_t exponent;    // scale is 2 ^ (exponent - 127)
  uint8_t quants[16];  // byte l: elements l (low nibble) and l + 16
};
static_assert(sizeof(Block) == 17);

// Half the scale, since the table holds twice the values: 2 ^ (exponent - 128), subnormal for the two smallest
// exponents.
float half_scale(uint8_t exponent) {
  return exponent < 2 ? float_from_bits(0x00200000u << exponent) : float_from_bits((exponent - 1u) << 23);
}

void decode(const Block& from, float* to) {
  const float d = half_scale(from.exponent);
  for (int i = 0; i < 16; ++i) {
    to[i] = d * static_cast<float>(kTwiceE2m1[from.quants[i] & 15]);
    to[i + 16] = d * static_cast<float>(kTwiceE2m1[from.quants[i] >> 4]);
  }
}

struct Product {
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kSigned = true, kMinimum = false;
  static constexpr int kLargest = 12, kOffset = 0;
  MOXIE_INLINE static float scale(const Block& block) { return half_scale(block.exponent); }
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) {
    Bytes64 bytes = load_nibbles(a.quants, b.quants);
    for (ByteVec& part : bytes.part) part = (ByteVec)look_up(kTwiceE2m1, part);
    return bytes;
  }
};

}  // namespace

extern constinit const QuantType mxfp4 = make_quant_type<Block, 32, nullptr, decode, multiply_32<Product>>(
    {.name = "mxfp4",
     .summary = "4.25 bits, microscaling 4-bit floats",
     .gguf_id = 39,
     .activations = ActFormat::q8_32});

}  // namespace moxie::MOXIE_TARGET

// 32 values of 4 bits from a fixed table of unequal steps, one half-precision scale. 4.5 bits per value.
#include "quant/byte_products.h"
#include "quant/fit_symmetric.h"
#include "quant/four_bit_tables.h"
#include "quant/multiply_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint8_t quants[16];  // byte l: elements l (low nibble) and l + 16
};
static_assert(sizeof(Block) == 18);

void encode(const float* from, const float* importance, Block* to) {
  WeightedBlock<32> block;
  prepare(from, importance, block);
  *to = {.scale = half_from_scale(fit_symmetric<Iq4Levels, 32>(block.x, block.w))};
  const float inverse = inverse_or_zero(float_from_f16(to->scale));
  for (int i = 0; i < 32; ++i)
    to->quants[i % 16] |= static_cast<uint8_t>(Iq4Levels::code(block.x[i] * inverse) << (4 * (i / 16)));
}

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  for (int i = 0; i < 16; ++i) {
    to[i] = d * static_cast<float>(kIq4Values[from.quants[i] & 15]);
    to[i + 16] = d * static_cast<float>(kIq4Values[from.quants[i] >> 4]);
  }
}

struct Product {
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kSigned = true, kMinimum = false;
  static constexpr int kLargest = 127, kOffset = 0;
  static constexpr size_t kScaleAt = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) {
    Bytes64 bytes = load_nibbles(a.quants, b.quants);
    for (ByteVec& part : bytes.part) part = (ByteVec)look_up(kIq4Values, part);
    return bytes;
  }
  MOXIE_INLINE static SignedBytes quants(LaneWords words, int i) {
    return look_up(kIq4Values, planes<16, 4>(words, i));
  }
};

}  // namespace

extern constinit const QuantType iq4_nl = make_quant_type<Block, 32, encode, decode, multiply_32<Product>>(
    {.name = "iq4_nl",
     .summary = "4.5 bits, unequal steps, for rows that do not divide by 256",
     .gguf_id = 20,
     .max_relative_error = 0.0746f,
     .activations = ActFormat::q8_32,
     .halves_at = Product::kScaleAt,
     .halves = 1});

}  // namespace moxie::MOXIE_TARGET

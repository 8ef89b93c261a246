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

// Of the magnitude nearest to x.
uint8_t code_of(float x) {
  constexpr float kBetween[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  const float magnitude = __builtin_fabsf(x);
  int code = 0;
  for (const float limit : kBetween) code += magnitude > limit;
  return static_cast<uint8_t>(x < 0 ? code + 8 : code);
}

// What rounding with this exponent costs; the codes go to `codes`.
float try_exponent(const float* from, const float* importance, int exponent, uint8_t (&codes)[32]) {
  const float scale = 2 * half_scale(static_cast<uint8_t>(exponent));
  const float inverse = float_from_bits(static_cast<uint32_t>(254 - exponent) << 23);
  float error = 0;
  for (int i = 0; i < 32; ++i) {
    codes[i] = code_of(from[i] * inverse);
    const float off = from[i] - scale * (0.5f * static_cast<float>(kTwiceE2m1[codes[i]]));
    error += (importance == nullptr ? 1 : importance[i]) * (off * off);
  }
  return error;
}

// The exponent with which the largest value is below twice the largest code, or the next one. What a block of the type
// stands for comes back as it was.
void encode(const float* from, const float* importance, Block* to) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) {
    const float magnitude = __builtin_fabsf(from[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  int exponent = static_cast<int>(bits_from_float(largest) >> 23) - 2;
  exponent = exponent < 0 ? 0 : exponent > 252 ? 252 : exponent;
  uint8_t codes[32], others[32];
  const float error = try_exponent(from, importance, exponent, codes);
  const bool next = try_exponent(from, importance, exponent + 1, others) < error;
  const uint8_t* best = next ? others : codes;
  to->exponent = static_cast<uint8_t>(next ? exponent + 1 : exponent);
  for (int i = 0; i < 16; ++i) to->quants[i] = static_cast<uint8_t>(best[i] | best[i + 16] << 4);
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

extern constinit const QuantType mxfp4 =
    make_quant_type<Block, 32, encode, decode, multiply_32<Product>>({.name = "mxfp4",
                                                                      .summary = "4.25 bits, microscaling 4-bit floats",
                                                                      .gguf_id = 39,
                                                                      .max_relative_error = 0.115f,
                                                                      .activations = ActFormat::q8_32});

}  // namespace moxie::MOXIE_TARGET

// 256 values in 8 sub-blocks of 32: 4-bit codes of iq4_nl's table, a 6-bit signed scale per sub-block. 4.25 bits per
// value.
#include "quant/fit_symmetric.h"
#include "quant/four_bit_tables.h"
#include "quant/multiply_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint16_t scales_high;   // two bits per sub-block
  uint8_t scales_low[4];  // four bits per sub-block
  uint8_t quants[128];    // 16 bytes per sub-block: elements l (low nibble) and l + 16
};
static_assert(sizeof(Block) == 136);

// The scale of a sub-block, -32 to 31.
int sub_scale(const Block& from, int sub) {
  const int low = (from.scales_low[sub / 2] >> (4 * (sub % 2))) & 15;
  const int high = (from.scales_high >> (2 * sub)) & 3;
  return (low | high << 4) - 32;
}

void encode(const float* from, const float* importance, Block* to) {
  const auto fit = fit_symmetric_block<Iq4Levels, 8, -32, 31>(from, importance);
  *to = {.scale = fit.scale};
  for (int s = 0; s < 8; ++s) {
    const int scale = fit.scales[s] + 32;
    to->scales_low[s / 2] |= static_cast<uint8_t>((scale & 15) << (4 * (s % 2)));
    to->scales_high = static_cast<uint16_t>(to->scales_high | (scale >> 4) << (2 * s));
  }
  for (int i = 0; i < 256; ++i)
    to->quants[16 * (i / 32) + i % 16] |= static_cast<uint8_t>(fit.codes[i] << (4 * (i / 16 % 2)));
}

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  for (int sub = 0; sub < 8; ++sub) {
    const float scale = d * static_cast<float>(sub_scale(from, sub));
    const uint8_t* quants = from.quants + 16 * sub;
    for (int i = 0; i < 16; ++i) {
      to[32 * sub + i] = scale * static_cast<float>(kIq4Values[quants[i] & 15]);
      to[32 * sub + i + 16] = scale * static_cast<float>(kIq4Values[quants[i] >> 4]);
    }
  }
}

class Parts {
 public:
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kMinimum = false, kSigned = true;
  static constexpr int kSubValues = 32, kLargest = 127, kOffset = 0;
  static constexpr size_t kScaleAt = offsetof(Block, scale), kRawAt = offsetof(Block, quants), kRawBytes = 128;
  MOXIE_INLINE explicit Parts(const Block& block) : block_(block) {}
  template <typename Raw>
  MOXIE_INLINE static SignedBytes quants(Raw raw, int i) {
    return look_up(kIq4Values, planes<16, 4>(raw, i));
  }
  MOXIE_INLINE SixteenScales scales(Factors factors) const { return SixteenScales(times(sub_scales(), factors)); }
  MOXIE_INLINE Shorts16 sub_scales() const {
    // Spread the eight nibbles and the eight pairs of bits to a byte each.
    uint64_t low = load_u32(block_.scales_low);
    low = (low | low << 16) & 0x0000ffff0000ffff;
    low = (low | low << 8) & 0x00ff00ff00ff00ff;
    low = (low | low << 4) & 0x0f0f0f0f0f0f0f0f;
    uint64_t high = block_.scales_high;
    high = (high | high << 24) & 0x000000ff000000ff;
    high = (high | high << 12) & 0x000f000f000f000f;
    high = (high | high << 6) & 0x0303030303030303;
    return plus(twice_each(low | high << 4), -32);
  }

 private:
  const Block& block_;
};

}  // namespace

extern constinit const QuantType iq4_xs =
    make_quant_type<Block, 256, encode, decode, multiply_256<Parts>>({.name = "iq4_xs",
                                                                      .summary = "4.25 bits, unequal steps",
                                                                      .gguf_id = 23,
                                                                      .max_relative_error = 0.0751f,
                                                                      .activations = ActFormat::q8_256});

}  // namespace moxie::MOXIE_TARGET

// 256 values in 8 sub-blocks of 32: 5 bits each, a 6-bit scale and a 6-bit minimum per sub-block. 5.5 bits per value.
#include "quant/fit_affine.h"
#include "quant/k_scales.h"
#include "quant/multiply_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint16_t scale;
  uint16_t minimum;
  uint8_t scales[12];
  uint8_t high[32];     // bit s of byte l: the fifth bit of element 32 * s + l
  uint8_t quants[128];  // the four low bits, as in q4_k
};
static_assert(sizeof(Block) == 176);

void encode(const float* from, const float* importance, Block* to) {
  const auto fit = fit_affine_block<8, 31, 63>(from, importance);
  *to = {.scale = fit.scale, .minimum = fit.minimum};
  pack_6bit_pairs(fit.scales, fit.minima, to->scales);
  for (int i = 0; i < 256; ++i) {
    to->quants[32 * (i / 64) + i % 32] |= static_cast<uint8_t>((fit.quants[i] & 15) << (4 * (i / 32 % 2)));
    to->high[i % 32] |= static_cast<uint8_t>((fit.quants[i] >> 4) << (i / 32));
  }
}

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale), dmin = half_to_float(from.minimum);
  const ScalesAndMinima packed = unpack_6bit_pairs(from.scales);
  for (int sub = 0; sub < 8; ++sub) {
    const float scale = d * static_cast<float>((packed.scales >> (8 * sub)) & 63);
    const float minimum = dmin * static_cast<float>((packed.minima >> (8 * sub)) & 63);
    const uint8_t* quants = from.quants + 32 * (sub / 2);
    const int shift = 4 * (sub % 2);
    for (int i = 0; i < 32; ++i) {
      const int q = ((quants[i] >> shift) & 15) | ((from.high[i] >> sub) & 1) << 4;
      to[32 * sub + i] = scale * static_cast<float>(q) - minimum;
    }
  }
}

class Parts {
 public:
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kMinimum = true, kSigned = false;
  static constexpr int kSubValues = 32, kLargest = 31, kOffset = 0;
  static constexpr size_t kScaleAt = offsetof(Block, scale), kRawAt = offsetof(Block, high), kRawBytes = 160;
  MOXIE_INLINE explicit Parts(const Block& block) : packed_(unpack_6bit_pairs(block.scales)) {}
  template <typename Raw>
  MOXIE_INLINE static Bytes quants(Raw raw, int i) {
    return joined_planes<32, 32, 1>(after<32>(raw), raw, i);
  }
  MOXIE_INLINE SixteenScales scales(Factors factors) const { return SixteenScales(times(sub_scales(), factors)); }
  MOXIE_INLINE Shorts16 sub_scales() const { return twice_each(packed_.scales); }
  MOXIE_INLINE Shorts16 sub_minima() const { return twice_each(packed_.minima); }

  static constexpr size_t kScalesAt = offsetof(Block, scales);
  static constexpr bool kSignedScales = false;
  static constexpr int kScaleTerm = 0;
  MOXIE_INLINE static void unpack_scales(LaneWords words, UintVec* scales, UintVec* minima) {
    unpack_6bit_pairs(words, scales, minima);
  }

 private:
  const ScalesAndMinima packed_;
};

}  // namespace

extern constinit const QuantType q5_k =
    make_quant_type<Block, 256, encode, decode, multiply_256<Parts>>({.name = "q5_k",
                                                                      .summary = "5.5 bits, little loss",
                                                                      .gguf_id = 13,
                                                                      .max_relative_error = 0.035f,
                                                                      .activations = ActFormat::q8_256,
                                                                      .halves_at = Parts::kScaleAt,
                                                                      .halves = Parts::kMinimum ? 2 : 1});

}  // namespace moxie::MOXIE_TARGET

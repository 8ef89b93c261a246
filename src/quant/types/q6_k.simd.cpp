// 256 values in 16 sub-blocks of 16: 6 bits each (-32 to 31), an 8-bit signed scale per sub-block. 6.5625 bits per
// value.
#include "quant/fit_symmetric.h"
#include "quant/multiply_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint8_t low[128];  // byte 64 * h + l: elements l (low nibble) and l + 64 of half h
  uint8_t high[64];  // byte 32 * h + l: the two high bits of elements l, l + 32, l + 64, l + 96 of half h
  int8_t scales[16];
  uint16_t scale;
};
static_assert(sizeof(Block) == 210);

void encode(const float* from, const float* importance, Block* to) {
  const auto fit = fit_symmetric_block<LinearLevels<-32, 31>, 16, -128, 127>(from, importance);
  *to = {.scale = fit.scale};
  std::memcpy(to->scales, fit.scales, sizeof to->scales);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, within = i % 128;
    to->low[64 * half + within % 64] |= static_cast<uint8_t>((fit.codes[i] & 15) << (4 * (within / 64)));
    to->high[32 * half + within % 32] |= static_cast<uint8_t>((fit.codes[i] >> 4) << (2 * (within / 32)));
  }
}

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  for (int sub = 0; sub < 16; ++sub) {
    const float scale = d * static_cast<float>(from.scales[sub]);
    const int half = sub / 8, within = 16 * (sub % 8);  // first element of the sub-block inside its half
    const uint8_t* low = from.low + 64 * half + within % 64;
    const uint8_t* high = from.high + 32 * half + within % 32;
    const int low_shift = 4 * (within / 64), high_shift = 2 * (within / 32);
    for (int i = 0; i < 16; ++i) {
      const int q = ((low[i] >> low_shift) & 15) | ((high[i] >> high_shift) & 3) << 4;
      to[16 * sub + i] = scale * static_cast<float>(q - 32);
    }
  }
}

class Parts {
 public:
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kMinimum = false, kSigned = false, kUnpacksFast = true;
  static constexpr int kSubValues = 16, kLargest = 63, kOffset = 32;
  static constexpr size_t kScaleAt = offsetof(Block, scale), kRawAt = offsetof(Block, low), kRawBytes = 192;
  MOXIE_INLINE explicit Parts(const Block& block) : block_(block) {}
  template <typename Raw>
  MOXIE_INLINE static Bytes quants(Raw raw, int i) {
    return joined_planes<64, 32, 2>(raw, after<128>(raw), i);
  }
  MOXIE_INLINE SixteenScales scales(Factors factors) const { return SixteenScales(times(sub_scales(), factors)); }
  MOXIE_INLINE Shorts16 sub_scales() const { return shorts_from_bytes(block_.scales); }

  static constexpr size_t kScalesAt = offsetof(Block, scales);
  static constexpr bool kSignedScales = true;
  static constexpr int kScaleTerm = 0;
  MOXIE_INLINE static void unpack_scales(LaneWords words, UintVec* scales, UintVec*) {
    for (int k = 0; k < 4; ++k) scales[k] = (UintVec)words[k];
  }

 private:
  const Block& block_;
};

}  // namespace

extern constinit const QuantType q6_k =
    make_quant_type<Block, 256, encode, decode, multiply_256<Parts>>({.name = "q6_k",
                                                                      .summary = "6.6 bits, hardly any loss",
                                                                      .gguf_id = 14,
                                                                      .max_relative_error = 0.0169f,
                                                                      .activations = ActFormat::q8_256,
                                                                      .halves_at = Parts::kScaleAt,
                                                                      .halves = Parts::kMinimum ? 2 : 1});

}  // namespace moxie::MOXIE_TARGET

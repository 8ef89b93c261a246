// 256 values in 16 sub-blocks of 16: 3 bits each (-4 to 3), a 6-bit signed scale per sub-block. 3.4375 bits per value.
#include "quant/fit_symmetric.h"
#include "quant/multiply_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint8_t high[32];    // bit s of byte l: the third bit of element 32 * s + l
  uint8_t quants[64];  // the two low bits, as in q2_k
  uint8_t scales[12];  // 16 scales of 6 bits: low nibbles in bytes 0 to 7, high pairs in bytes 8 to 11
  uint16_t scale;
};
static_assert(sizeof(Block) == 110);

// The scale of each sub-block, -32 to 31.
void unpack_scales(const uint8_t* from, int8_t* to) {
  for (int k = 0; k < 16; ++k) {
    const int low = k < 8 ? from[k] & 15 : from[k - 8] >> 4;
    const int high = (from[8 + k % 4] >> (2 * (k / 4))) & 3;
    to[k] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

void encode(const float* from, const float* importance, Block* to) {
  const auto fit = fit_symmetric_block<LinearLevels<-4, 3>, 16, -32, 31>(from, importance);
  *to = {.scale = fit.scale};
  for (int k = 0; k < 16; ++k) {
    const int scale = fit.scales[k] + 32;
    to->scales[k % 8] |= static_cast<uint8_t>((scale & 15) << (4 * (k / 8)));
    to->scales[8 + k % 4] |= static_cast<uint8_t>((scale >> 4) << (2 * (k / 4)));
  }
  for (int i = 0; i < 256; ++i) {
    to->quants[32 * (i / 128) + i % 32] |= static_cast<uint8_t>((fit.codes[i] & 3) << (2 * (i % 128 / 32)));
    to->high[i % 32] |= static_cast<uint8_t>((fit.codes[i] >> 2) << (i / 32));
  }
}

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale);
  int8_t scales[16];
  unpack_scales(from.scales, scales);
  for (int sub = 0; sub < 16; ++sub) {
    const float scale = d * static_cast<float>(scales[sub]);
    const int first = 16 * (sub % 2);
    const uint8_t* quants = from.quants + 32 * (sub / 8) + first;
    const int shift = 2 * (sub % 8 / 2);
    for (int i = 0; i < 16; ++i) {
      const int q = ((quants[i] >> shift) & 3) - ((from.high[first + i] >> (sub / 2)) & 1 ? 0 : 4);
      to[16 * sub + i] = scale * static_cast<float>(q);
    }
  }
}

class Parts {
 public:
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kMinimum = false, kSigned = false;
  static constexpr int kSubValues = 16, kLargest = 7, kOffset = 4;
  static constexpr size_t kScaleAt = offsetof(Block, scale), kRawAt = offsetof(Block, high), kRawBytes = 96;
  MOXIE_INLINE explicit Parts(const Block& block) : block_(block) {}
  template <typename Raw>
  MOXIE_INLINE static Bytes quants(Raw raw, int i) {
    return planes<32, 2>(after<32>(raw), i) | planes<32, 1, 2>(raw, i);
  }
  MOXIE_INLINE SixteenScales scales(Factors factors) const { return SixteenScales(times(sub_scales(), factors)); }
  MOXIE_INLINE Shorts16 sub_scales() const {
    const uint64_t low = load_u64(block_.scales), high = load_u32(block_.scales + 8);
    constexpr uint64_t kNibbles = 0x0f0f0f0f0f0f0f0f, kPairs = 0x3030303030303030;
    // high holds the pairs of sub-blocks k, k + 4, k + 8, k + 12 in byte k.
    const uint64_t first = (low & kNibbles) | ((high << 4 | high << 34) & kPairs);
    const uint64_t second = ((low >> 4) & kNibbles) | ((high | high << 30) & kPairs);
    return shorts_from_bytes(first, second, 32);
  }

  static constexpr size_t kScalesAt = offsetof(Block, scales);
  static constexpr bool kSignedScales = false;
  static constexpr int kScaleTerm = -32;
  MOXIE_INLINE static void unpack_scales(LaneWords words, UintVec* scales, UintVec*) {
    const UintVec low[2] = {(UintVec)words[0], (UintVec)words[1]}, pairs = (UintVec)words[2];
    constexpr uint32_t kNibbles = 0x0f0f0f0f, kPairs = 0x30303030;
    scales[0] = (low[0] & kNibbles) | (pairs << 4 & kPairs);
    scales[1] = (low[1] & kNibbles) | (pairs << 2 & kPairs);
    scales[2] = (low[0] >> 4 & kNibbles) | (pairs & kPairs);
    scales[3] = (low[1] >> 4 & kNibbles) | (pairs >> 2 & kPairs);
  }

 private:
  const Block& block_;
};

}  // namespace

extern constinit const QuantType q3_k =
    make_quant_type<Block, 256, encode, decode, multiply_256<Parts>>({.name = "q3_k",
                                                                      .summary = "3.4 bits",
                                                                      .gguf_id = 11,
                                                                      .max_relative_error = 0.146f,
                                                                      .activations = ActFormat::q8_256,
                                                                      .halves_at = Parts::kScaleAt,
                                                                      .halves = Parts::kMinimum ? 2 : 1});

}  // namespace moxie::MOXIE_TARGET

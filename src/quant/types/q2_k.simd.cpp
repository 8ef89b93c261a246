// 256 values in 16 sub-blocks of 16: 2 bits each, a 4-bit scale and a 4-bit minimum per sub-block. 2.625 bits per
// value.
#include "quant/fit_affine.h"
#include "quant/multiply_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct [[gnu::packed]] Block {
  uint8_t scales[16];  // low nibble: scale, high nibble: minimum
  uint8_t quants[64];  // byte 32 * half + l holds elements l, l + 32, l + 64, l + 96 of that half
  uint16_t scale;
  uint16_t minimum;
};
static_assert(sizeof(Block) == 84);

void encode(const float* from, const float* importance, Block* to) {
  const auto fit = fit_affine_block<16, 3, 15>(from, importance);
  *to = {.scale = fit.scale, .minimum = fit.minimum};
  for (int s = 0; s < 16; ++s) to->scales[s] = static_cast<uint8_t>(fit.scales[s] | fit.minima[s] << 4);
  for (int i = 0; i < 256; ++i)
    to->quants[32 * (i / 128) + i % 32] |= static_cast<uint8_t>(fit.quants[i] << (2 * (i % 128 / 32)));
}

void decode(const Block& from, float* to) {
  const float d = half_to_float(from.scale), dmin = half_to_float(from.minimum);
  for (int sub = 0; sub < 16; ++sub) {
    const float scale = d * static_cast<float>(from.scales[sub] & 15);
    const float minimum = dmin * static_cast<float>(from.scales[sub] >> 4);
    const uint8_t* quants = from.quants + 32 * (sub / 8) + 16 * (sub % 2);
    const int shift = 2 * (sub % 8 / 2);
    for (int i = 0; i < 16; ++i) {
      to[16 * sub + i] = scale * static_cast<float>((quants[i] >> shift) & 3) - minimum;
    }
  }
}

class Parts {
 public:
  using Block = MOXIE_TARGET::Block;
  static constexpr bool kMinimum = true, kSigned = false;
  static constexpr int kSubValues = 16, kLargest = 3, kOffset = 0;
  static constexpr size_t kScaleAt = offsetof(Block, scale), kRawAt = offsetof(Block, quants), kRawBytes = 64;
  MOXIE_INLINE explicit Parts(const Block& block) { std::memcpy(&bytes_, block.scales, sizeof bytes_); }
  template <typename Raw>
  MOXIE_INLINE static Bytes quants(Raw raw, int i) {
    return planes<32, 2>(raw, i);
  }
  MOXIE_INLINE Shorts16 sub_scales() const { return shorts_from_bytes(bytes_ & 15); }
  MOXIE_INLINE ByteScales scales(Factors factors) const { return ByteScales(times(bytes_ & 15, factors)); }
  MOXIE_INLINE Shorts16 sub_minima() const { return shorts_from_bytes(bytes_ >> 4); }

  static constexpr size_t kScalesAt = offsetof(Block, scales);
  static constexpr bool kSignedScales = false;
  static constexpr int kScaleTerm = 0;
  MOXIE_INLINE static void unpack_scales(LaneWords words, UintVec* scales, UintVec* minima) {
    for (int k = 0; k < 4; ++k) {
      scales[k] = (UintVec)words[k] & 0x0f0f0f0f;
      minima[k] = (UintVec)words[k] >> 4 & 0x0f0f0f0f;
    }
  }

 private:
  Bytes16 bytes_;
};

}  // namespace

extern constinit const QuantType q2_k =
    make_quant_type<Block, 256, encode, decode, multiply_256<Parts>>({.name = "q2_k",
                                                                      .summary = "2.6 bits, small and coarse",
                                                                      .gguf_id = 10,
                                                                      .max_relative_error = 0.263f,
                                                                      .activations = ActFormat::q8_256,
                                                                      .halves_at = Parts::kScaleAt,
                                                                      .halves = Parts::kMinimum ? 2 : 1});

}  // namespace moxie::MOXIE_TARGET

// The inner steps of the products of a panel (panel_256.h): a run is the sum over some dwords of each row, a step the
// runs that meet the scales of sub-blocks at once. Internal to the including *.simd.cpp file. Pure functions; exact.
#pragma once

#include "quant/activations.h"
#include "quant/blocks_32.h"
#include "quant/byte_products.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Pairs of sub-blocks.
template <class Parts>
constexpr int kSumPairs = 128 / Parts::kSubValues;

// Signed quants are unpacked 128 too large where bytes are multiplied by VNNI.
template <class Parts>
constexpr bool kShifted = Parts::kSigned&& kHaveVnni;

// Parts whose runs are sub-blocks, which 16 bits may not hold: each is multiplied in 32. Zen 5 does that as fast as it
// multiplies bytes; Intel's processors take twice as long.
template <class Parts>
class LongRuns : public Parts {
 public:
  using Parts::Parts;
  static constexpr bool kLongRuns = true;
};
template <class Parts>
constexpr bool kLongRuns = requires {
  Parts::kLongRuns;
};

// A run is one number per lane with VNNI, otherwise two of 16 bits.
constexpr int kTermsPerDword = kHaveVnni ? 4 : 2;

// What is taken off the quants within runs, by where their sums start, so that the sums of more of them fit 16 bits.
template <class Parts>
constexpr int centre() {
  if (Parts::kSigned) return kHaveVnni ? 128 : 0;
  if (kLongRuns<Parts>) return Parts::kOffset;
  const bool fits = kTermsPerDword * (Parts::kSubValues / 4) * Parts::kLargest * 127 <= 32767;
  if (!kHaveVnni) return fits ? 0 : Parts::kOffset;
  return fits ? Parts::kOffset : (Parts::kLargest + 1) / 2;
}
// What is to be added for each quant in the end.
template <class Parts>
constexpr int kCorrection = centre<Parts>() - (kShifted<Parts> ? 128 : Parts::kOffset);

template <class Parts>
constexpr int largest_in_run() {
  if (Parts::kSigned) return Parts::kLargest;
  const int above = Parts::kLargest - centre<Parts>();
  return above > centre<Parts>() ? above : centre<Parts>();
}
// Too large for 16 bits even after one dword: multiplied in 32.
template <class Parts>
constexpr bool kWideRuns = kHaveVnni&& kTermsPerDword* largest_in_run<Parts>() * 127 > 32767;

// A power of two, at most a sub-block.
template <class Parts>
constexpr int run_dwords() {
  constexpr int kSubDwords = Parts::kSubValues / 4;
  if (kWideRuns<Parts> || kLongRuns<Parts>) return kSubDwords;
  int run = 1;
  while (2 * run <= kSubDwords && kTermsPerDword * largest_in_run<Parts>() * 127 * 2 * run <= 32767) run *= 2;
  return run;
}
// Whether a sub-block is several runs.
template <class Parts>
constexpr bool kRunsAreParts = run_dwords<Parts>() < Parts::kSubValues / 4;
// With VNNI two runs of 16 bits share a lane.
template <class Parts>
constexpr int kRunsInStep = kHaveVnni && !kWideRuns<Parts> ? 2 : 1;
template <class Parts>
constexpr int kStepDwords = kRunsInStep<Parts>* run_dwords<Parts>();
// Steps within one sub-block share its scale.
template <class Parts>
constexpr int kScaleDwords = kStepDwords<Parts> > Parts::kSubValues / 4 ? kStepDwords<Parts> : Parts::kSubValues / 4;

// Sums within a run: lanes of 32 bits with VNNI, of 16 otherwise.
template <class Parts>
MOXIE_INLINE IntVec add_dword(IntVec run, IntVec w, IntVec four) {
#if MOXIE_VNNI
  return add_byte_products(run, w, four);
#elif defined(__SSSE3__)
  run = (IntVec)((Shorts)run + (Shorts)multiply_pairs<Parts::kSigned>((ByteVec)w, (ByteVec)four));
  keep_here(run);
  return run;
#else
  for (int i = 0; i < kByteLanes; ++i) {
    const int weight = Parts::kSigned ? static_cast<int8_t>(((Bytes)w)[i]) : ((Bytes)w)[i];
    run[i / 4] += weight * ((SignedBytes)four)[i];
  }
  return run;
#endif
}

typedef uint32_t UintVec __attribute__((vector_size(kLanes * 4), may_alias));
constexpr uint32_t kHighHalf = 0xffff0000u;

// Numbers `a` and `b` of the pairs of 16 bits, in the low and the high half.
MOXIE_INLINE IntVec join_halves(const IntVec* pairs, int a, int b) {
  const UintVec low = (UintVec)pairs[a / 2], high = (UintVec)pairs[b / 2];
  return (IntVec)((a % 2 == 0 ? low & ~kHighHalf : low >> 16) | (b % 2 == 0 ? high << 16 : high & kHighHalf));
}
// The same of sub-blocks, where pairs has a number for each 16 values.
template <class Parts>
MOXIE_INLINE IntVec join_sub_blocks(const IntVec* pairs, int a, int b) {
  return join_halves(pairs, a * (Parts::kSubValues / 16), b * (Parts::kSubValues / 16));
}

// Scales times the activations' factors, for add_step. Lanes of either hold two numbers of 16 bits; where a step is of
// one run both are the same.
template <class Parts>
MOXIE_INLINE IntVec step_scales(IntVec scales, IntVec factors) {
#if MOXIE_VNNI
  // The scale stands in the high half alone, so that this is one product of 32 bits.
  if constexpr (kWideRuns<Parts>) return add_pairs(IntVec{}, scales, factors);
#elif !defined(__SSSE3__)
  return (scales >> 16) * (factors >> 16);
#endif
  return (IntVec)((Shorts)scales * (Shorts)factors);
}

// total + the step's runs, times `scales` of step_scales.
template <class Parts>
MOXIE_INLINE IntVec add_step(IntVec total, const IntVec (&runs)[kRunsInStep<Parts>], IntVec scales) {
#if MOXIE_VNNI
  if constexpr (kWideRuns<Parts>) {
    return total + runs[0] * scales;
  } else if constexpr (kLongRuns<Parts>) {
    return total + (runs[0] * ((scales << 16) >> 16) + runs[1] * (scales >> 16));
  } else {
    // The low half of each lane of the second goes to the high half of the first.
#if defined(__AVX512VNNI__)
    const __m512i low_halves = _mm512_set4_epi32(0x0d0c0000, 0x09080000, 0x05040000, 0x01000000);
    const __m512i joined = _mm512_mask_shuffle_epi8((__m512i)runs[0], 0xcccccccccccccccc, (__m512i)runs[1], low_halves);
#else
    const __m256i joined = _mm256_blend_epi16((__m256i)runs[0], (__m256i)(runs[1] << 16), 0xaa);
#endif
    return add_pairs(total, (IntVec)joined, scales);
  }
#elif defined(__SSSE3__)
  return add_pairs(total, runs[0], scales);
#else
  return total + runs[0] * scales;
#endif
}

// Where the activations' factors of a step stand. It lies within 32 values, whose factor stands there twice, or spans
// 64: then the two factors are neighbours.
template <class Parts>
MOXIE_INLINE constexpr int factor_of_step(int step) {
  constexpr int kStep = kStepDwords<Parts>;
  return kStep == 16 ? 4 * step + 1 : step * kStep / 8 * 2;
}

// Where the runs of one token's block start: run i at starts[start_of(i)].
template <class Parts>
MOXIE_INLINE int start_of(int run) {
  if (run_dwords<Parts>() == 2) return run / 2 + 16 * (run % 2);
  return run_dwords<Parts>() == 4 ? run : 2 * run;
}
template <class Parts>
MOXIE_INLINE void find_starts(const ActBlock256& x, int32_t starts[32]) {
#if MOXIE_VNNI
  static_assert(run_dwords<Parts>() >= 2 && run_dwords<Parts>() <= 8);
  constexpr uint32_t kLow = static_cast<uint16_t>(-centre<Parts>()), kHigh = kLow << 16;
  for (int first = 0; first < 16; first += kLanes) {
    IntVec sums;
    std::memcpy(&sums, x.part_sums + 2 * first, sizeof sums);
    const auto times = [&](uint32_t pair) { return add_pairs(IntVec{}, sums, splat_int(static_cast<int32_t>(pair))); };
    if constexpr (run_dwords<Parts>() == 2) {
      const IntVec even = times(kLow), odd = times(kHigh);
      std::memcpy(starts + first, &even, sizeof even);
      std::memcpy(starts + 16 + first, &odd, sizeof odd);
    } else {
      IntVec of_16 = times(kLow | kHigh);
#if defined(__AVX512VNNI__)
      if (run_dwords<Parts>() == 8) of_16 += (IntVec)_mm512_shuffle_epi32((__m512i)of_16, _MM_PERM_CDAB);
#else
      if (run_dwords<Parts>() == 8) of_16 += (IntVec)_mm256_shuffle_epi32((__m256i)of_16, 0xb1);
#endif
      std::memcpy(starts + first, &of_16, sizeof of_16);
    }
  }
#else
  static_assert(run_dwords<Parts>() == 4);
#if defined(__SSSE3__)
  // A run is two sums, of bytes 0 and 1 of each dword and of bytes 2 and 3. Four vectors of sub-blocks become one.
  for (int first = 0; first < 16; first += kLanes) {
    const auto pairs = [&](int i) {
      const ByteVec values = (ByteVec)load_bytes(x.values + 16 * first + i * kByteLanes);
      return multiply_pairs<false>(ByteVec{} + 1, values);
    };
    const auto joined = [](auto a, auto b) {
#if defined(__AVX2__)
      return (ShortVec)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b) +
             (ShortVec)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
#else
      return (ShortVec)_mm_unpacklo_epi64((__m128i)a, (__m128i)b) +
             (ShortVec)_mm_unpackhi_epi64((__m128i)a, (__m128i)b);
#endif
    };
    const ShortVec low = joined(pairs(0), pairs(1)), high = joined(pairs(2), pairs(3));
#if defined(__AVX2__)
    const ShortVec even = (ShortVec)_mm256_shuffle_ps((__m256)low, (__m256)high, 0x88);
    const ShortVec odd = (ShortVec)_mm256_shuffle_ps((__m256)low, (__m256)high, 0xdd);
#else
    const ShortVec even = (ShortVec)_mm_shuffle_ps((__m128)low, (__m128)high, 0x88);
    const ShortVec odd = (ShortVec)_mm_shuffle_ps((__m128)low, (__m128)high, 0xdd);
#endif
    ShortVec sums = (even + odd) * static_cast<int16_t>(-centre<Parts>());
#if defined(__AVX2__)  // halves hold every second sub-block
    sums = (ShortVec)_mm256_permutevar8x32_epi32((__m256i)sums, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#endif
    std::memcpy(starts + first, &sums, sizeof sums);
  }
#else
  for (int i = 0; i < 16; ++i) starts[i] = -centre<Parts>() * (x.part_sums[2 * i] + x.part_sums[2 * i + 1]);
#endif
#endif
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

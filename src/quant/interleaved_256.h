// Interleaved rows of the types with blocks of 256 values: where their words lie, and their sub-blocks' scales with a
// lane for each row. For panel_256.h and multiply_256.h. Pure functions; exact.
#pragma once

#include "quant/blocks_32.h"
#include "quant/steps_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Types whose rows can be interleaved give
//   kScalesAt              where in a block the bytes of the sub-blocks' scales and minima stand
//   unpack_scales(words, scales, minima)  from the words there: byte j of scales[k] is the scale of sub-block 4 k + j
//                          of the lane's row, likewise minima
//   kScaleTerm             what is added to each scale
//   kSignedScales          whether these bytes are signed
template <class Parts>
constexpr bool kInterleaves256 = requires {
  Parts::kScalesAt;
};

// Byte a of each dword in its low half, byte b in its high half.
MOXIE_INLINE IntVec spread_bytes(UintVec v, int a, int b) {
#if defined(__SSSE3__)
  // -1 gives zero.
  const __m128i index =
      _mm_setr_epi8(static_cast<char>(a), -1, static_cast<char>(b), -1, static_cast<char>(4 + a), -1,
                    static_cast<char>(4 + b), -1, static_cast<char>(8 + a), -1, static_cast<char>(8 + b), -1,
                    static_cast<char>(12 + a), -1, static_cast<char>(12 + b), -1);
#if defined(__AVX512F__)
  return (IntVec)_mm512_shuffle_epi8((__m512i)v, _mm512_broadcast_i32x4(index));
#elif defined(__AVX2__)
  return (IntVec)_mm256_shuffle_epi8((__m256i)v, _mm256_broadcastsi128_si256(index));
#else
  return (IntVec)_mm_shuffle_epi8((__m128i)v, index);
#endif
#else
  return (IntVec)((v >> (8 * a) & 255) | (v >> (8 * b) & 255) << 16);
#endif
}

// What BlockDwords is for plain rows; everything stays where it is until it is asked for.
template <class Parts>
class InterleavedDwords {
 public:
  MOXIE_INLINE InterleavedDwords(const InterleavedRows<Parts>& rows, int64_t index)
      : raw_(rows.words(index, Parts::kRawAt)) {
    Parts::unpack_scales(rows.words(index, Parts::kScalesAt), scales_, minima_);
  }
  MOXIE_INLINE LaneWords raw() const { return raw_; }
  // Of sub-blocks a and b, in the low and the high half. REQUIRES: a / 4 == b / 4.
  MOXIE_INLINE IntVec scales(int a, int b) const {
    IntVec pair = spread_bytes(scales_[a / 4], a % 4, b % 4);
    if constexpr (Parts::kSignedScales) pair = (IntVec)((Shorts)pair << 8 >> 8);
    if constexpr (Parts::kScaleTerm != 0) pair = (IntVec)((Shorts)pair + static_cast<int16_t>(Parts::kScaleTerm));
    return pair;
  }
  MOXIE_INLINE IntVec minima(int a, int b) const { return spread_bytes(minima_[a / 4], a % 4, b % 4); }

 private:
  LaneWords raw_;
  UintVec scales_[4], minima_[4];
};

template <class Parts>
MOXIE_INLINE InterleavedDwords<Parts> block_dwords(const InterleavedRows<Parts>& rows, int64_t index) {
  return InterleavedDwords<Parts>(rows, index);
}

// One or a few tokens times a vector of interleaved rows of each stream: the steps of multiply_panels_256, with weights
// unpacked as they are used.
template <class Parts, int kTokens>
class InterleavedStep {
 public:
  using Acts = const ActBlock256* const[kTokens];
  using Sums = FloatVec[kStreams][kTokens];

  // The next step of the chains.
  MOXIE_INLINE static void add_block(const InterleavedRows<Parts> (&rows)[kStreams], Acts& x, int64_t b, Sums& sums) {
    const InterleavedDwords<Parts> dwords[kStreams] = {{rows[0], b}, {rows[1], b}};
    IntVec totals[kStreams][kTokens] = {};
    int32_t starts[kTokens][32];
    for (int t = 0; t < kTokens; ++t) {
      if constexpr (Parts::kMinimum || kCorrection<Parts> != 0) {
        for (int s = 0; s < kStreams; ++s) add_sums(rows[s], dwords[s], x[t][b], b, totals[s][t], sums[s][t]);
      }
      if constexpr (centre<Parts>() != 0) find_starts<Parts>(x[t][b], starts[t]);
    }
#pragma GCC unroll 64
    for (int step = 0; step < 64 / kStep; ++step) {
      IntVec runs[kStreams][kTokens][kRuns] = {};
      for (int t = 0; t < kTokens; ++t) {
        if constexpr (centre<Parts>() != 0) {
#pragma GCC unroll 2
          for (int k = 0; k < kRuns; ++k) {
            const IntVec start = splat_int(starts[t][start_of<Parts>(step * kRuns + k)]);
            for (int s = 0; s < kStreams; ++s) runs[s][t][k] = start;
          }
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < kRun; ++i) {  // runs side by side, since they often take their quants from the same words
        for (int s = 0; s < kStreams; ++s) rows[s].template prefetch<64 / kRuns>(b, step * kRun + i);
#pragma GCC unroll 2
        for (int k = 0; k < kRuns; ++k) add_dwords(dwords, x, b, step * kStep + k * kRun + i, k, runs);
      }
      for (int s = 0; s < kStreams; ++s) {
        const IntVec scales = scales_of_step(dwords[s], step);
        for (int t = 0; t < kTokens; ++t) {
          const IntVec factors =
              splat_int(static_cast<int32_t>(load_u32(x[t][b].factors + factor_of_step<Parts>(step))));
          totals[s][t] = add_step<Parts>(totals[s][t], runs[s][t], step_scales<Parts>(scales, factors));
        }
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      const FloatVec scale = rows[s].halves(b, Parts::kScaleAt);
      for (int t = 0; t < kTokens; ++t) sums[s][t] = fma(to_float(totals[s][t]), scale * x[t][b].scale, sums[s][t]);
    }
  }

 private:
  static constexpr int kRun = run_dwords<Parts>(), kRuns = kRunsInStep<Parts>, kStep = kStepDwords<Parts>;
  static constexpr int kSubDwords = Parts::kSubValues / 4;

  // What hangs on the activations' sums: minima, and what quants are stored too large by.
  MOXIE_INLINE static void add_sums(const InterleavedRows<Parts>& rows, const InterleavedDwords<Parts>& dwords,
                                    const ActBlock256& x, int64_t b, IntVec& total, FloatVec& sum) {
    const int16_t* sub_sums = Parts::kSubValues == 16 ? x.sums : x.sums_of_32;
    IntVec minima = {};
#pragma GCC unroll 8
    for (int k = 0; k < kSumPairs<Parts>; ++k) {
      const IntVec two_sums = splat_int(static_cast<int32_t>(load_u32(sub_sums + 2 * k)));
      if constexpr (Parts::kMinimum) {
        minima = add_pairs(minima, dwords.minima(2 * k, 2 * k + 1), two_sums);
      }
      if constexpr (kCorrection<Parts> != 0) {
        const Shorts pair = (Shorts)dwords.scales(2 * k, 2 * k + 1);
        total = add_pairs(total, (IntVec)(pair * (Shorts{} + kCorrection<Parts>)), two_sums);
      }
    }
    if constexpr (Parts::kMinimum) {
      sum = fma(-to_float(minima), rows.halves(b, Parts::kScaleAt + 2) * x.scale, sum);
    }
  }

  MOXIE_INLINE static void add_dwords(const InterleavedDwords<Parts> (&dwords)[kStreams], Acts& x, int64_t b, int i,
                                      int run, IntVec (&runs)[kStreams][kTokens][kRuns]) {
    IntVec quants[kStreams];
    for (int s = 0; s < kStreams; ++s) {
      Bytes bytes = (Bytes)Parts::quants(dwords[s].raw(), i);
      if constexpr (kShifted<Parts>) bytes ^= 0x80;
      quants[s] = (IntVec)bytes;
    }
    for (int t = 0; t < kTokens; ++t) {
      const IntVec four = splat_int(static_cast<int32_t>(load_u32(x[t][b].values + 4 * i)));
      for (int s = 0; s < kStreams; ++s) runs[s][t][run] = add_dword<Parts>(runs[s][t][run], quants[s], four);
    }
  }

  MOXIE_INLINE static IntVec scales_of_step(const InterleavedDwords<Parts>& dwords, int step) {
    const int first = step * kStep / kScaleDwords<Parts> * kScaleDwords<Parts>, last = first + kScaleDwords<Parts> - 1;
    const IntVec scales = dwords.scales(first / kSubDwords, last / kSubDwords);
    return kWideRuns<Parts> ? (IntVec)((UintVec)scales & kHighHalf) : scales;
  }
};

template <class Parts, int kTokens>
void multiply_interleaved_256(const MultiplyArgs& args) {
  const ActBlock256* x[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = reinterpret_cast<const ActBlock256*>(args.activations + t * args.activation_row_bytes);
  }
  for (int64_t row = 0; row < args.rows; row += kStreams * kLanes) {
    const InterleavedRows<Parts> rows[kStreams] = {{args, row}, {args, row + kLanes}};
    FloatVec sums[kStreams][kTokens] = {};
    for (int64_t b = 0; b < args.columns / 256; ++b) InterleavedStep<Parts, kTokens>::add_block(rows, x, b, sums);
    for (int s = 0; s < kStreams && row + s * kLanes < args.rows; ++s) {
      for (int t = 0; t < kTokens; ++t) {
        rows[s].store_results(args.out + t * args.out_stride + row + s * kLanes, sums[s][t]);
      }
    }
  }
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

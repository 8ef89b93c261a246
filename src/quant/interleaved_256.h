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
template <bool kSigned>
MOXIE_INLINE IntVec spread_bytes(UintVec v, int a, int b) {
#if defined(__SSSE3__)
  // Bytes in the upper halves of words, to be shifted down with their signs, or in the lower ones; zero in the others.
  const auto word = [](int byte) { return static_cast<int16_t>(kSigned ? byte << 8 | 0x80 : byte | 0x8000); };
  const __m128i index =
      _mm_setr_epi16(word(a), word(b), word(4 + a), word(4 + b), word(8 + a), word(8 + b), word(12 + a), word(12 + b));
#if defined(__AVX512F__)
  const Shorts spread = (Shorts)_mm512_shuffle_epi8((__m512i)v, _mm512_broadcast_i32x4(index));
#elif defined(__AVX2__)
  const Shorts spread = (Shorts)_mm256_shuffle_epi8((__m256i)v, _mm256_broadcastsi128_si256(index));
#else
  const Shorts spread = (Shorts)_mm_shuffle_epi8((__m128i)v, index);
#endif
  return (IntVec)(kSigned ? spread >> 8 : spread);
#else
  const IntVec spread = (IntVec)((v >> (8 * a) & 255) | (v >> (8 * b) & 255) << 16);
  return kSigned ? (IntVec)((Shorts)spread << 8 >> 8) : spread;
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
    IntVec pair = spread_bytes<Parts::kSignedScales>(scales_[a / 4], a % 4, b % 4);
    if constexpr (Parts::kScaleTerm != 0) pair = (IntVec)((Shorts)pair + static_cast<int16_t>(Parts::kScaleTerm));
    return pair;
  }
  // Of sub-blocks 4 k + j and 4 k + j + 2, likewise. j: 0 or 1.
  MOXIE_INLINE IntVec scales_of_four(int k, int j) const {
    if constexpr (Parts::kSignedScales) {
      const Shorts four = (Shorts)scales_[k];
      return (IntVec)((j == 0 ? four << 8 : four) >> 8);
    } else {
      const Words four = (Words)scales_[k];
      return (IntVec)((j == 0 ? four & 255 : four >> 8) + static_cast<uint16_t>(Parts::kScaleTerm));
    }
  }
  MOXIE_INLINE IntVec minima(int a, int b) const { return spread_bytes<false>(minima_[a / 4], a % 4, b % 4); }

 private:
  LaneWords raw_;
  UintVec scales_[4], minima_[4];
};

template <class Parts>
MOXIE_INLINE InterleavedDwords<Parts> block_dwords(const InterleavedRows<Parts>& rows, int64_t index) {
  return InterleavedDwords<Parts>(rows, index);
}

// One or a few tokens times a vector of interleaved rows of each stream: the sums of multiply_panels_256, with weights
// unpacked as they are used.
template <class Parts, int kTokens>
class InterleavedBlock {
 public:
  using Rows = const InterleavedRows<Parts>[kStreams];
  using Acts = const ActBlock256* const[kTokens];
  using Sums = FloatVec[kStreams][kTokens];

  MOXIE_INLINE InterleavedBlock(Rows& rows, Acts& x, int64_t index)
      : rows_(rows), x_(x), index_(index), dwords_{{rows[0], index}, {rows[1], index}} {}

  // The next step of the chains.
  MOXIE_INLINE void add_to(Sums& sums) {
    for (int t = 0; t < kTokens; ++t) {
      if constexpr (Parts::kMinimum || kCorrection<Parts> != 0) {
        for (int s = 0; s < kStreams; ++s) add_sums(s, t, sums[s][t]);
      }
      if constexpr (centre<Parts>() != 0) find_starts<Parts>(x_[t][index_], starts_[t]);
    }
    if constexpr (kSubDwords == 4 && kRuns == 2) {
      add_fours();
    } else {
      add_steps();
    }
    for (int s = 0; s < kStreams; ++s) {
      const FloatVec scale = rows_[s].halves(index_, Parts::kScaleAt);
      for (int t = 0; t < kTokens; ++t) {
        sums[s][t] = fma(to_float(totals_[s][t]), scale * x_[t][index_].scale, sums[s][t]);
      }
    }
  }

 private:
  static constexpr int kRun = run_dwords<Parts>(), kRuns = kRunsInStep<Parts>, kStep = kStepDwords<Parts>;
  static constexpr int kSteps = 64 / kStep;
  // How often in a step lines are asked for: runs this short have many dwords of different lines.
  static constexpr int kAsks = kRun == 2 ? 2 : 1;
  static constexpr int kSubDwords = Parts::kSubValues / 4;
  using Runs = IntVec[kStreams][kTokens][kRuns];

  // What hangs on the activations' sums: minima, and what quants are stored too large by.
  MOXIE_INLINE void add_sums(int s, int t, FloatVec& sum) {
    const ActBlock256& x = x_[t][index_];
    const int16_t* sub_sums = Parts::kSubValues == 16 ? x.sums : x.sums_of_32;
    IntVec minima = {};
#pragma GCC unroll 8
    for (int k = 0; k < kSumPairs<Parts>; ++k) {
      const IntVec two_sums = splat_int(static_cast<int32_t>(load_u32(sub_sums + 2 * k)));
      if constexpr (Parts::kMinimum) {
        minima = add_pairs(minima, dwords_[s].minima(2 * k, 2 * k + 1), two_sums);
      }
      if constexpr (kCorrection<Parts> != 0) {
        const Shorts pair = (Shorts)dwords_[s].scales(2 * k, 2 * k + 1);
        totals_[s][t] = add_pairs(totals_[s][t], (IntVec)(pair * (Shorts{} + kCorrection<Parts>)), two_sums);
      }
    }
    if constexpr (Parts::kMinimum) {
      sum = fma(-to_float(minima), rows_[s].halves(index_, Parts::kScaleAt + 2) * x.scale, sum);
    }
  }

  // Run k of a step is the one from dword `first` on.
  MOXIE_INLINE void start_run(int first, int k, Runs& runs) const {
    for (int t = 0; t < kTokens; ++t) {
      IntVec start = {};
      if constexpr (centre<Parts>() != 0) start = splat_int(starts_[t][start_of<Parts>(first / kRun)]);
      for (int s = 0; s < kStreams; ++s) runs[s][t][k] = start;
    }
  }

  MOXIE_INLINE void add_dwords(int i, int k, Runs& runs) const {
    IntVec quants[kStreams];
    for (int s = 0; s < kStreams; ++s) {
      Bytes bytes = (Bytes)Parts::quants(dwords_[s].raw(), i);
      if constexpr (kShifted<Parts>) bytes ^= 0x80;
      quants[s] = (IntVec)bytes;
    }
    for (int t = 0; t < kTokens; ++t) {
      const IntVec four = splat_int(static_cast<int32_t>(load_u32(x_[t][index_].values + 4 * i)));
      for (int s = 0; s < kStreams; ++s) runs[s][t][k] = add_dword<Parts>(runs[s][t][k], quants[s], four);
    }
  }

  // A step of which run k begins at dword firsts[k]. Runs go side by side, since they often take their quants from the
  // same words.
  MOXIE_INLINE void add_runs(int step, const int (&firsts)[kRuns], const IntVec (&scales)[kStreams][kTokens]) {
    Runs runs;
#pragma GCC unroll 2
    for (int k = 0; k < kRuns; ++k) start_run(firsts[k], k, runs);
#pragma GCC unroll 8
    for (int i = 0; i < kRun; ++i) {
      if (i % (kRun / kAsks) == 0) prefetch_streams<kSteps, kAsks>(rows_, index_, step, i / (kRun / kAsks));
#pragma GCC unroll 2
      for (int k = 0; k < kRuns; ++k) add_dwords(firsts[k] + i, k, runs);
    }
    for (int s = 0; s < kStreams; ++s) {
      for (int t = 0; t < kTokens; ++t) totals_[s][t] = add_step<Parts>(totals_[s][t], runs[s][t], scales[s][t]);
    }
  }

  MOXIE_INLINE IntVec factors(int t, int at) const {
    return splat_int(static_cast<int32_t>(load_u32(x_[t][index_].factors + at)));
  }

  MOXIE_INLINE void add_steps() {
#pragma GCC unroll 64
    for (int step = 0; step < kSteps; ++step) {
      IntVec scales[kStreams][kTokens];
      for (int s = 0; s < kStreams; ++s) {
        const IntVec of_rows = scales_of_step(dwords_[s], step);
        for (int t = 0; t < kTokens; ++t) {
          scales[s][t] = step_scales<Parts>(of_rows, factors(t, factor_of_step<Parts>(step)));
        }
      }
      int firsts[kRuns];
      for (int k = 0; k < kRuns; ++k) firsts[k] = step * kStep + k * kRun;
      add_runs(step, firsts, scales);
    }
  }
  MOXIE_INLINE static IntVec scales_of_step(const InterleavedDwords<Parts>& dwords, int step) {
    const int first = step * kStep / kScaleDwords<Parts> * kScaleDwords<Parts>, last = first + kScaleDwords<Parts> - 1;
    const IntVec scales = dwords.scales(first / kSubDwords, last / kSubDwords);
    return kWideRuns<Parts> ? (IntVec)((UintVec)scales & kHighHalf) : scales;
  }

  // Sub-blocks of 16 values: of the four whose scales share a dword the first and the third take their steps together,
  // likewise the second and the fourth. To get such pairs of scales costs less than to get neighbours, and a half of
  // the block, eight sub-blocks, takes its quants from the same words.
  MOXIE_INLINE void add_fours() {
    int step = 0;
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      IntVec scales[2][2][kStreams][kTokens];
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
          for (int s = 0; s < kStreams; ++s) {
            const IntVec of_rows = dwords_[s].scales_of_four(2 * half + k, j);
            for (int t = 0; t < kTokens; ++t) {
              // Factors stand there twice: these are of the first and of the second 32 values.
              scales[k][j][s][t] = step_scales<Parts>(of_rows, factors(t, 4 * (2 * half + k) + 1));
            }
          }
        }
      }
#pragma GCC unroll 4
      for (int from = 0; from < 8; from += kRun) {
#pragma GCC unroll 2
        for (int k = 0; k < 2; ++k) {
          const int first = 32 * half + 16 * k + from;
          add_runs(step++, {first, first + 8}, scales[k][from / 4]);
        }
      }
    }
  }

  Rows& rows_;
  Acts& x_;
  const int64_t index_;
  const InterleavedDwords<Parts> dwords_[kStreams];
  IntVec totals_[kStreams][kTokens] = {};
  int32_t starts_[kTokens][32];
};

template <class Parts, int kTokens>
void multiply_interleaved_256(const MultiplyArgs& args) {
  const ActBlock256* x[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = reinterpret_cast<const ActBlock256*>(args.activations + t * args.activation_row_bytes);
  }
  for_streams(args, [&](int64_t first, int64_t second) {
    const int64_t firsts[kStreams] = {first, second};
    const InterleavedRows<Parts> rows[kStreams] = {{args, first}, {args, second}};
    FloatVec sums[kStreams][kTokens] = {};
    for (int64_t b = 0; b < args.columns / 256; ++b) InterleavedBlock<Parts, kTokens>(rows, x, b).add_to(sums);
    for (int s = 0; s < kStreams && firsts[s] < args.rows; ++s) {
      for (int t = 0; t < kTokens; ++t) {
        rows[s].store_results(args.out + t * args.out_stride + firsts[s], sums[s][t]);
      }
    }
  });
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

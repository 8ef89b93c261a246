// Products of bfloat16 weights with activations rounded to bfloat16, for types/bf16.simd.cpp and --fast: pairs of both
// are multiplied at once, twice as many as floats. Needs AVX512-BF16 beyond the target, which fast_quant_type() asks
// for.
//
// Order of sums, for every (row, token) and every number of them: for each part of kRoundedColumns columns in turn,
// lane l takes columns 32 i + 2 l and 32 i + 2 l + 1 for each i in turn; then lanes are added by halves.
#pragma once

#include "quant/parts.h"
#include "quant/rows.h"

#if defined(__AVX512VNNI__) && !defined(__AMX_BF16__)
#define MOXIE_ROUNDED_BF16 1

namespace moxie::MOXIE_TARGET {
namespace {

constexpr int64_t kRoundedColumns = 2048;  // of weights and activations that stay in the first cache

MOXIE_WITH_BF16 MOXIE_INLINE void add_pairs_of_bf16(FloatVec& sums, IntVec w, IntVec x) {
  sums = (FloatVec)_mm512_dpbf16_ps((__m512)sums, (__m512bh)w, (__m512bh)x);
}
MOXIE_INLINE IntVec load_pairs(const std::byte* from) {
  return (IntVec)_mm512_loadu_si512(from);
}
// The first `columns` numbers, then zeros.
MOXIE_INLINE IntVec load_pairs_part(const std::byte* from, int64_t columns) {
  return (IntVec)_mm512_maskz_loadu_epi16(static_cast<__mmask32>((uint64_t{1} << columns) - 1), from);
}
MOXIE_INLINE const std::byte* rounded_acts(const MultiplyArgs& args, int64_t token) {
  return args.activations + token * static_cast<int64_t>(args.activation_row_bytes);
}
MOXIE_INLINE const std::byte* bf16_row(const MultiplyArgs& args, int64_t row) {
  return args.weights + row * static_cast<int64_t>(args.row_bytes);
}
MOXIE_INLINE int64_t part_columns(const MultiplyArgs& args, int64_t column) {
  const int64_t left = args.columns - column;
  return left < kRoundedColumns ? left : kRoundedColumns;
}

// ---- few tokens ----

constexpr int kFewRoundedTokens = 4;

// Rows row, row + apart, ...
template <int kRows, int kTokens>
MOXIE_WITH_BF16 void multiply_few_rounded(const MultiplyArgs& args, int64_t row, int64_t apart) {
  FloatVec totals[kTokens] = {};  // lane r: of row r
  for (int64_t first = 0; first < args.columns; first += kRoundedColumns) {
    const std::byte *w[kRows], *x[kTokens];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) w[r] = bf16_row(args, row + r * apart) + 2 * first;
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) x[t] = rounded_acts(args, t) + 2 * first;
    FloatVec sums[kRows][kTokens] = {};
    const int64_t bytes = 2 * part_columns(args, first);
    int64_t at = 0;
    for (; at + 64 <= bytes; at += 64) {
      IntVec weights[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        __builtin_prefetch(w[r] + at + kOnceBytes, 0, 0);
        weights[r] = load_pairs(w[r] + at);
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const IntVec values = load_pairs(x[t] + at);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) add_pairs_of_bf16(sums[r][t], weights[r], values);
      }
    }
    if (at < bytes) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const IntVec weights = load_pairs_part(w[r] + at, (bytes - at) / 2);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) add_pairs_of_bf16(sums[r][t], weights, load_pairs(x[t] + at));
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) totals[t][r] += sum_lanes(sums[r][t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) args.out[t * args.out_stride + row + r * apart] = totals[t][r];
  }
}

template <int kTokens>
MOXIE_WITH_BF16 void multiply_few_rounded_rows(const MultiplyArgs& args) {
  const int64_t half = args.rows / 2;
  for (int64_t row = 0; row < half; ++row) multiply_few_rounded<2, kTokens>(args, row, half);
  if (args.rows % 2 != 0) multiply_few_rounded<1, kTokens>(args, args.rows - 1, 0);
}

// ---- many tokens ----

struct RoundedPart {
  static constexpr int kTileRows = 6;
  static constexpr int kTileTokens = 4;
  static constexpr int kTile = kTileRows * kTileTokens;
  static constexpr int kRows = 22 * kTileRows;
  static constexpr int kTokens = 144;  // whose part stays in the second cache
  static_assert(kTile > kLanes && kTile <= 2 * kLanes && kTokens % kTileTokens == 0);
};

// Lane kTileRows * t + r: the sum of row r and token t.
struct RoundedSums {
  FloatVec of[2];
  float room[kLanes];  // rows of the last token are read as a whole vector
};

// Lane i: the lanes of v[i], added by halves as sum_lanes() does.
MOXIE_INLINE FloatVec sums_of_sixteen(const FloatVec* v) {
  __m512 of[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const __m512 a = (__m512)v[k], b = (__m512)v[4 + k], c = (__m512)v[8 + k], d = (__m512)v[12 + k];
    const __m512 ab = _mm512_shuffle_f32x4(a, b, 0x44) + _mm512_shuffle_f32x4(a, b, 0xee);
    const __m512 cd = _mm512_shuffle_f32x4(c, d, 0x44) + _mm512_shuffle_f32x4(c, d, 0xee);
    of[k] = _mm512_shuffle_f32x4(ab, cd, 0x88) + _mm512_shuffle_f32x4(ab, cd, 0xdd);
  }
  __m512 pairs[2];
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k) {
    const __m512d a = (__m512d)of[2 * k], b = (__m512d)of[2 * k + 1];
    pairs[k] = (__m512)_mm512_unpacklo_pd(a, b) + (__m512)_mm512_unpackhi_pd(a, b);
  }
  return (FloatVec)(_mm512_shuffle_ps(pairs[0], pairs[1], 0x88) + _mm512_shuffle_ps(pairs[0], pairs[1], 0xdd));
}

// Adds a part's sums of kTileRows rows, of which w has the first columns, and kTokens tokens, `x_stride` bytes apart. A
// function of its own, or registers run out.
template <int kTokens>
[[gnu::noinline]] MOXIE_WITH_BF16 void multiply_rounded_tile(const std::byte* const (&w)[RoundedPart::kTileRows],
                                                             const std::byte* x, size_t x_stride, int64_t columns,
                                                             RoundedSums& to) {
  constexpr int kRows = RoundedPart::kTileRows;
  const int64_t bytes = 2 * columns;
  FloatVec sums[2 * kLanes];
#pragma GCC unroll 32
  for (int i = 0; i < 2 * kLanes; ++i) sums[i] = FloatVec{};
  int64_t at = 0;
  for (; at + 64 <= bytes; at += 64) {
    IntVec weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) weights[r] = load_pairs(w[r] + at);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const IntVec values = load_pairs(x + static_cast<size_t>(t) * x_stride + at);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) add_pairs_of_bf16(sums[kRows * t + r], weights[r], values);
    }
  }
  if (at < bytes) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const IntVec weights = load_pairs_part(w[r] + at, (bytes - at) / 2);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        add_pairs_of_bf16(sums[kRows * t + r], weights, load_pairs(x + static_cast<size_t>(t) * x_stride + at));
      }
    }
  }
  to.of[0] += sums_of_sixteen(sums);
  if constexpr (kRows * kTokens > kLanes) to.of[1] += sums_of_sixteen(sums + kLanes);
}

// Tokens [token, token + tokens) with rows [row, row + rows).
inline void multiply_rounded_part(const MultiplyArgs& args, int64_t token, int tokens, int64_t row, int rows) {
  constexpr int kTileRows = RoundedPart::kTileRows, kTileTokens = RoundedPart::kTileTokens;
  RoundedSums sums[RoundedPart::kRows / kTileRows][RoundedPart::kTokens / kTileTokens];
  const int tiles = (tokens + kTileTokens - 1) / kTileTokens, row_tiles = (rows + kTileRows - 1) / kTileRows;
  const auto rows_of = [&](int tile) {
    const int left = rows - tile * kTileRows;
    return left < kTileRows ? left : kTileRows;
  };
  for (int g = 0; g < row_tiles; ++g) std::memset(sums[g], 0, sizeof(RoundedSums) * static_cast<size_t>(tiles));
  for (int64_t column = 0; column < args.columns; column += kRoundedColumns) {
    const int64_t columns = part_columns(args, column);
    for (int g = 0; g < row_tiles; ++g) {
      const std::byte* w[kTileRows];
      for (int r = 0; r < kTileRows; ++r) {  // beyond the last row that one stands in
        w[r] = bf16_row(args, row + g * kTileRows + (r < rows_of(g) ? r : rows_of(g) - 1)) + 2 * column;
      }
      RowsAhead ahead;
      const auto add_ahead = [&](int tile, int64_t from) {
        ahead.add(bf16_row(args, row + tile * kTileRows) + 2 * from, args.row_bytes, rows_of(tile),
                  2 * static_cast<size_t>(part_columns(args, from)));
      };
      if (g + 1 < row_tiles) {
        add_ahead(g + 1, column);
      } else if (column + columns < args.columns) {
        add_ahead(0, column + columns);
      }
      ahead.begin(tiles);
      for (int tile = 0; tile < tiles; ++tile) {
        ahead.step();
        const std::byte* const x = rounded_acts(args, token + tile * kTileTokens) + 2 * column;
        with_count<kTileTokens>(tokens - tile * kTileTokens, [&]<int kTokens>() {
          multiply_rounded_tile<kTokens>(w, x, args.activation_row_bytes, columns, sums[g][tile]);
        });
      }
    }
  }
  for (int t = 0; t < tokens; ++t) {
    float* const out = args.out + (token + t) * args.out_stride + row;
    for (int g = 0; g < row_tiles; ++g) {
      const float* const of = reinterpret_cast<const float*>(sums[g][t / kTileTokens].of);
      store_part(out + g * kTileRows, load(of + t % kTileTokens * kTileRows), rows_of(g));
    }
  }
}

void multiply_rounded(const MultiplyArgs& args) {
  switch (args.tokens) {
    case 0:
      return;
    case 1:
      return multiply_few_rounded_rows<1>(args);
    case 2:
      return multiply_few_rounded_rows<2>(args);
    case 3:
      return multiply_few_rounded_rows<3>(args);
    case kFewRoundedTokens:
      return multiply_few_rounded_rows<kFewRoundedTokens>(args);
  }
  for_parts<RoundedPart::kTileTokens>(
      args, RoundedPart::kTokens, RoundedPart::kRows,
      [&](int64_t token, int tokens, int64_t row, int rows) { multiply_rounded_part(args, token, tokens, row, rows); });
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
#endif

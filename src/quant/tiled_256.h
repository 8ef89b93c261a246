// Products of the types with blocks of 256 values with many tokens, on tiles: for multiply_256.h, whose order of sums
// it keeps. A weight times the scale of its sub-block and an activation times its factor take up to 16 bits each: both
// are split into a signed high and an unsigned low byte, and the four products of bytes are summed over a whole block
// before they are put together. All of it modulo 2^32, which the total fits.
#pragma once

#include "quant/panel_256.h"
#include "quant/tiles.h"

#if defined(__AMX_INT8__)
namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kLeastTiled256Tokens = 40;  // with fewer, too little is won for what unpacking costs
constexpr int kTiled256Tokens = 256;      // tokens that share an unpacked block of weights
constexpr int kTiled256Groups = 2;        // of rows, that share what is loaded of the activations
constexpr int kTiled256Rows = 512;        // rows that share unpacked activations

// The products of the signed bytes of `v` with 16-bit numbers, one for each two neighbours: low and high bytes.
struct SplitProducts {
  Bytes low;
  Bytes high;
};
MOXIE_INLINE SplitProducts split_products(Bytes v, Shorts scales) {
  const Shorts even = ((Shorts)v << 8 >> 8) * scales, odd = ((Shorts)v >> 8) * scales;
  constexpr int kFirstWhereMask = 0xca;
  const __m512i low_bytes = _mm512_set1_epi16(0x00ff);
  const __m512i low = _mm512_ternarylogic_epi64(low_bytes, (__m512i)even, (__m512i)(odd << 8), kFirstWhereMask);
  const __m512i high = _mm512_ternarylogic_epi64(low_bytes, (__m512i)((Words)even >> 8), (__m512i)odd, kFirstWhereMask);
  return {(Bytes)low, (Bytes)high};
}

// One block of 16 tokens. Tokens that are not there are zero.
struct TiledActs256 {
  Bytes low[4][kTileRows];  // [i][t]: values 64 i to 64 i + 63 of token t, times their factors
  Bytes high[4][kTileRows];
  int32_t sums[kTileRows][8];  // pairs, of 16 bits each: of 16 values, or the first four of 32
  float scales[kTileRows];
};

template <class Parts>
MOXIE_INLINE void tile_acts_256(const std::byte* from, size_t row_bytes, int tokens, TiledActs256& to) {
  for (int t = 0; t < kTileRows; ++t) {
    if (t >= tokens) {
      for (int i = 0; i < 4; ++i) to.low[i][t] = to.high[i][t] = Bytes{};
      std::memset(to.sums[t], 0, sizeof to.sums[t]);
      to.scales[t] = 0;
      continue;
    }
    const ActBlock256& x = *reinterpret_cast<const ActBlock256*>(from + static_cast<size_t>(t) * row_bytes);
    for (int i = 0; i < 4; ++i) {
      const __m256i first = _mm256_set1_epi16(x.factors[4 * i]), second = _mm256_set1_epi16(x.factors[4 * i + 2]);
      const Shorts factors = (Shorts)_mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
      const SplitProducts products = split_products(load_bytes(x.values + 64 * i), factors);
      to.low[i][t] = products.low;
      to.high[i][t] = products.high;
    }
    if constexpr (Parts::kSubValues == 16) {
      std::memcpy(to.sums[t], x.sums, sizeof x.sums);
    } else {
      std::memcpy(to.sums[t], x.sums_of_32, sizeof x.sums_of_32);
    }
    to.scales[t] = x.scale;
  }
}

// One block of 16 rows: lane r is of row r.
struct TiledWeights256 {
  Bytes low[64];  // [i]: values 4 i to 4 i + 3, times their scales
  Bytes high[64];
  IntVec sub_minima[8];  // [k]: of sub-blocks 2 k and 2 k + 1, 16 bits each
  FloatVec scale;
  FloatVec minimum;
};

template <class Parts, class Rows>
void tile_weights_256(const Rows& rows, int64_t index, TiledWeights256& to) {
  constexpr int kSubDwords = Parts::kSubValues / 4;
  const auto dwords = block_dwords<Parts>(rows, index);
  IntVec scales = {};
#pragma GCC unroll 64
  for (int i = 0; i < 64; ++i) {
    if (i % kSubDwords == 0) {
      scales = dwords.scales(i / kSubDwords, i / kSubDwords);
    }
    const Bytes quants = (Bytes)Parts::quants(dwords.raw(), i) - static_cast<uint8_t>(Parts::kOffset);
    const SplitProducts products = split_products(quants, (Shorts)scales);
    to.low[i] = products.low;
    to.high[i] = products.high;
  }
  to.scale = load_halves<Parts>(rows, index, Parts::kScaleAt);
  if constexpr (Parts::kMinimum) {
#pragma GCC unroll 8
    for (int k = 0; k < kSumPairs<Parts>; ++k) {
      to.sub_minima[k] = dwords.minima(2 * k, 2 * k + 1);
    }
    to.minimum = load_halves<Parts>(rows, index, Parts::kScaleAt + 2);
  }
}

// The sums of the products of bytes of 16 tokens and rows over a block, by their weight: 1, 256 and 65536.
using TileTotals = IntVec[3][kTileRows];

// Adds to them, in tiles kFirst to kFirst + 2, the products of a quarter of a block.
template <int kFirst>
MOXIE_INLINE void multiply_quarter_256(const TiledActs256& x, const TiledWeights256& w, int quarter) {
  load_tile<6>(x.low[quarter], 64);
  load_tile<7>(w.low + 16 * quarter, 64);
  add_tile_products<kFirst, 6, 7, false, false>();
  load_tile<7>(w.high + 16 * quarter, 64);
  add_tile_products<kFirst + 1, 6, 7, false, true>();
  load_tile<6>(x.high[quarter], 64);
  add_tile_products<kFirst + 2, 6, 7, true, true>();
  load_tile<7>(w.low + 16 * quarter, 64);
  add_tile_products<kFirst + 1, 6, 7, true, false>();
}

// sums[t] of tokens [first, first + 4) and 16 rows: the next step of their chains.
template <class Parts>
MOXIE_INLINE void add_totals_256(const TiledActs256& x, const TiledWeights256& w, const TileTotals& totals, int first,
                                 FloatVec* sums) {
#pragma GCC unroll 4
  for (int t = first; t < first + 4; ++t) {
    FloatVec sum = sums[t];
    if constexpr (Parts::kMinimum) {
      IntVec minima = {};
#pragma GCC unroll 8
      for (int k = 0; k < kSumPairs<Parts>; ++k) {
        minima = add_pairs(minima, w.sub_minima[k], splat_int(x.sums[t][k]));
      }
      sum = fma(-to_float(minima), w.minimum * x.scales[t], sum);
    }
    const IntVec total = totals[0][t] + ((totals[1][t] + (totals[2][t] << 8)) << 8);
    sums[t] = fma(to_float(total), w.scale * x.scales[t], sum);
  }
}

// A step: 16 tokens and rows over a block.
struct Step256 {
  const TiledActs256* x;
  const TiledWeights256* w;
  FloatVec* sums;
};

// Multiplies a step into tiles kFirst to kFirst + 2. Meanwhile the tiles of the step before are stored and added up, in
// small parts: the processor looks only so far ahead.
template <class Parts, int kFirst, class Later>
MOXIE_INLINE void multiply_step_256(const Step256& step, const Step256& last, Later& ahead, TileTotals& totals) {
  constexpr int kLast = 3 - kFirst;
  auto add = [&](int first) {
    Tiles::memory_is_read();
    ahead.step();
    add_totals_256<Parts>(*last.x, *last.w, totals, first, last.sums);
    Tiles::memory_is_read();
  };
  zero_tile<kFirst>();
  zero_tile<kFirst + 1>();
  zero_tile<kFirst + 2>();
  multiply_quarter_256<kFirst>(*step.x, *step.w, 0);
  store_tile<kLast>(totals[0], 64);
  store_tile<kLast + 1>(totals[1], 64);
  store_tile<kLast + 2>(totals[2], 64);
  multiply_quarter_256<kFirst>(*step.x, *step.w, 1);
  add(0);
  multiply_quarter_256<kFirst>(*step.x, *step.w, 2);
  add(4);
  add(8);
  multiply_quarter_256<kFirst>(*step.x, *step.w, 3);
  add(12);
}

// `tiles` tiles of tokens times `groups` groups of rows.
template <class Parts, class Later>
void multiply_block_256(const TiledActs256* x, int tiles, const TiledWeights256* w, int groups, Later& ahead,
                        FloatVec (*sums)[kTiled256Tokens]) {
  alignas(64) TileTotals totals;
  FloatVec discarded[kTileRows] = {};
  Step256 last = {x, w, discarded};
  const int steps = tiles * groups;
  ahead.begin(4 * steps);
  auto next = [&, tile = 0, g = 0]() mutable {
    const Step256 step = {x + tile, w + g, sums[g] + tile * kTileRows};
    if (++g == groups) g = 0, ++tile;
    return step;
  };
  for (int i = 0; i < steps; i += 2) {
    const Step256 first = next();
    multiply_step_256<Parts, 0>(first, last, ahead, totals);
    if (i + 1 == steps) {
      last = first;
      break;
    }
    const Step256 second = next();
    multiply_step_256<Parts, 3>(second, first, ahead, totals);
    last = second;
  }
  if (steps % 2 == 0) {
    store_tile<3>(totals[0], 64);
    store_tile<4>(totals[1], 64);
    store_tile<5>(totals[2], 64);
  } else {
    store_tile<0>(totals[0], 64);
    store_tile<1>(totals[1], 64);
    store_tile<2>(totals[2], 64);
  }
  for (int i = 0; i < 4; ++i) add_totals_256<Parts>(*last.x, *last.w, totals, 4 * i, last.sums);
}

// Tokens [first_token, first_token + tokens) with rows [first_row, first_row + rows).
template <class Parts, class Rows>
void multiply_256_tiled(const MultiplyArgs& args, int64_t first_token, int tokens, int64_t first_row, int rows) {
  constexpr int kMostTiles = kTiled256Tokens / kTileRows;
  const int tiles = (tokens + kTileRows - 1) / kTileRows, groups = (rows + kLanes - 1) / kLanes;
  const std::byte* activations = args.activations + static_cast<size_t>(first_token) * args.activation_row_bytes;
  TiledActs256 x[kMostTiles];
  TiledWeights256 w[kTiled256Groups];
  FloatVec sums[kTiled256Rows / kLanes][kTiled256Tokens];
  for (int g = 0; g < groups; ++g) std::memset(sums[g], 0, sizeof(FloatVec) * static_cast<size_t>(tiles * kTileRows));
  const int64_t blocks = args.columns / 256;
  for (int64_t block = 0; block < blocks; ++block) {
    for (int tile = 0; tile < tiles; ++tile) {
      const int first = tile * kTileRows;
      tile_acts_256<Parts>(activations + static_cast<size_t>(first) * args.activation_row_bytes +
                               static_cast<size_t>(block) * sizeof(ActBlock256),
                           args.activation_row_bytes, tokens - first, x[tile]);
    }
    for (int first = 0; first < groups; first += kTiled256Groups) {
      const int count = groups - first < kTiled256Groups ? groups - first : kTiled256Groups;
      AheadOf<Rows> ahead;
      for (int g = 0; g < count; ++g) {
        const Rows group(args, first_row + (first + g) * kLanes);
        tile_weights_256<Parts>(group, block, w[g]);
        if (block + 1 < blocks) add_blocks_ahead<Parts>(group, block + 1, 1, ahead);
      }
      multiply_block_256<Parts>(x, tiles, w, count, ahead, sums + first);
    }
  }
  store_sums(args, first_token, tokens, first_row, rows, sums);
}

template <class Parts, class Rows>
void multiply_256_tiles(const MultiplyArgs& args) {
  const Tiles configured(6, 7, 64);
  for_parts<kTileRows>(args, kTiled256Tokens, kTiled256Rows, [&](int64_t token, int tokens, int64_t row, int rows) {
    multiply_256_tiled<Parts, Rows>(args, token, tokens, row, rows);
  });
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
#endif

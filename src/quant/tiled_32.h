// Products of the types with blocks of 32 values with many tokens, on tiles: for multiply_32.h, whose order of sums it
// keeps. A tile multiplication is the exact sum over one block for 16 rows and 16 tokens. Not for types with minima,
// where adding up takes as long as multiplying without tiles.
#pragma once

#include <concepts>

#include "quant/activations.h"
#include "quant/blocks_32.h"
#include "quant/tiles.h"

#if defined(__AMX_INT8__)
namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kLeastTiled32Tokens = 40;  // with fewer, too little is won for what unpacking costs
constexpr int kTiled32Blocks = 8;        // of a row that are unpacked together
constexpr int kTiled32Groups = 2;        // of rows, that share what is loaded of the activations
constexpr int kTiled32Tokens = 256;      // tokens that share unpacked weights
constexpr int kTiled32Rows = 512;        // rows that share copied activations

// Some blocks of 16 tokens. Tokens that are not there are zero.
struct TiledActs32 {
  int8_t values[kTiled32Blocks][kTileRows][32];
  float scales[kTiled32Blocks][kTileRows];
};

MOXIE_INLINE void tile_acts_32(const std::byte* from, size_t row_bytes, int tokens, int blocks, TiledActs32& to) {
  if (tokens < kTileRows) std::memset(&to, 0, sizeof to);
  for (int t = 0; t < tokens && t < kTileRows; ++t) {
    const ActBlock32* x = reinterpret_cast<const ActBlock32*>(from + static_cast<size_t>(t) * row_bytes);
    for (int b = 0; b < blocks; ++b) {
      std::memcpy(to.values[b][t], x[b].values, 32);
      to.scales[b][t] = x[b].scale;
    }
  }
}

// The same blocks of 16 rows: lane r is of row r.
struct TiledWeights32 {
  IntVec values[kTiled32Blocks][8];
  FloatVec scales[kTiled32Blocks];
};

template <typename Type>
void tile_values_32(const RowGroup& rows, int64_t first, int blocks, TiledWeights32& to) {
  for (int b = 0; b < blocks; b += 2) {
    const int next = b + 1 < blocks ? b + 1 : b;
    Bytes64 unpacked[kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) {
      const typename Type::Block& block = block_of<Type>(rows, r, first + b);
      __builtin_prefetch(reinterpret_cast<const std::byte*>(&block) + kTiled32Blocks * sizeof block);
      unpacked[r] = Type::unpack(block, block_of<Type>(rows, r, first + next));
      unpacked[r].part[0] -= static_cast<uint8_t>(Type::kOffset);
    }
    transpose(unpacked, to.values[b]);
  }
}
template <typename Type>
void tile_values_32(const InterleavedRows<Type>& rows, int64_t first, int blocks, TiledWeights32& to) {
  for (int b = 0; b < blocks; ++b) {
    const LaneWords words = rows.words(first + b, 2 * InterleavedRows<Type>::kHalves);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      to.values[b][i] = (IntVec)((ByteVec)Type::quants(words, i) - static_cast<uint8_t>(Type::kOffset));
    }
  }
}

template <typename Type, class Rows>
void tile_weights_32(const Rows& rows, int64_t first, int blocks, TiledWeights32& to) {
  tile_values_32<Type>(rows, first, blocks, to);
  for (int b = 0; b < blocks; ++b) to.scales[b] = load_scales<Type>(rows, first + b);
}

// A step: 16 tokens and rows over some blocks, whose exact sums come out one tile for each.
using TileTotals32 = IntVec[kTiled32Blocks][kTileRows];
struct Step32 {
  const TiledActs32* x;
  const TiledWeights32* w;
  const TileTotals32* totals;
  FloatVec* sums;
};

// sums[t] of two tokens: the next steps of their chains.
MOXIE_INLINE void add_totals_32(const Step32& step, int blocks, int first) {
  FloatVec sums[2] = {step.sums[first], step.sums[first + 1]};
  for (int b = 0; b < blocks; ++b) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const int t = first + i;
      const float scale = step.x->scales[b][t];
      sums[i] = fma(to_float((*step.totals)[b][t]), step.w->scales[b] * scale, sums[i]);
    }
  }
  step.sums[first] = sums[0];
  step.sums[first + 1] = sums[1];
}

template <int kSum>
MOXIE_INLINE void multiply_tile_32(const Step32& step, int block) {
  zero_tile<kSum>();
  load_tile<4>(step.x->values[block], 32);
  load_tile<6>(step.w->values[block], 64);
  add_tile_products<kSum, 4, 6, true, true>();
}

// `tiles` tiles of tokens times `groups` groups of rows.
inline void multiply_blocks_32(const TiledActs32* x, int tiles, const TiledWeights32* w, int groups, int blocks,
                               Ahead& ahead, FloatVec (*sums)[kTiled32Tokens]) {
  alignas(64) TileTotals32 totals[2] = {};
  FloatVec discarded[kTileRows] = {};
  Step32 last = {x, w, &totals[1], discarded};
  ahead.begin(tiles * groups * kTiled32Blocks);
  int turn = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int g = 0; g < groups; ++g) {
      const Step32 step = {x + tile, w + g, &totals[turn], sums[g] + tile * kTileRows};
      TileTotals32& to = totals[turn];
      // The totals of the step before are added up meanwhile, in small parts: the processor looks only so far ahead. A
      // tile is stored after the next ones have been started.
#define MOXIE_TILE_STEP(block, sum, before)               \
  if (block < blocks) multiply_tile_32<sum>(step, block); \
  ahead.step();                                           \
  Tiles::memory_is_read();                                \
  add_totals_32(last, blocks, 2 * block);                 \
  Tiles::memory_is_read();                                \
  if (block >= 2 && block - 2 < blocks) store_tile<before>(to[(block - 2) & 7], 64);
      MOXIE_TILE_STEP(0, 0, 2)
      MOXIE_TILE_STEP(1, 1, 3)
      MOXIE_TILE_STEP(2, 2, 0)
      MOXIE_TILE_STEP(3, 3, 1)
      MOXIE_TILE_STEP(4, 0, 2)
      MOXIE_TILE_STEP(5, 1, 3)
      MOXIE_TILE_STEP(6, 2, 0)
      MOXIE_TILE_STEP(7, 3, 1)
#undef MOXIE_TILE_STEP
      if (6 < blocks) store_tile<2>(to[6], 64);
      if (7 < blocks) store_tile<3>(to[7], 64);
      last = step;
      turn ^= 1;
    }
  }
  for (int t = 0; t < kTileRows; t += 2) add_totals_32(last, blocks, t);
}

// Tokens [first_token, first_token + tokens) with rows [first_row, first_row + rows).
template <typename Type, class Rows>
void multiply_32_tiled(const MultiplyArgs& args, int64_t first_token, int tokens, int64_t first_row, int rows) {
  const int tiles = (tokens + kTileRows - 1) / kTileRows, groups = (rows + kLanes - 1) / kLanes;
  const size_t x_bytes = args.activation_row_bytes;
  const std::byte* activations = args.activations + static_cast<size_t>(first_token) * x_bytes;
  const int64_t all_blocks = args.columns / 32;
  TiledActs32 x[kTiled32Tokens / kTileRows];
  TiledWeights32 w[kTiled32Groups];
  FloatVec sums[kTiled32Rows / kLanes][kTiled32Tokens];
  for (int g = 0; g < groups; ++g) std::memset(sums[g], 0, sizeof(FloatVec) * static_cast<size_t>(tiles * kTileRows));
  for (int64_t block = 0; block < all_blocks; block += kTiled32Blocks) {
    const int blocks = static_cast<int>(all_blocks - block < kTiled32Blocks ? all_blocks - block : kTiled32Blocks);
    for (int tile = 0; tile < tiles; ++tile) {
      const int first = tile * kTileRows;
      tile_acts_32(activations + static_cast<size_t>(first) * x_bytes + static_cast<size_t>(block) * sizeof(ActBlock32),
                   x_bytes, tokens - first, blocks, x[tile]);
    }
    for (int first = 0; first < groups; first += kTiled32Groups) {
      const int count = groups - first < kTiled32Groups ? groups - first : kTiled32Groups;
      Ahead ahead;
      const int64_t next = block + blocks, next_end = next + blocks < all_blocks ? next + blocks : all_blocks;
      for (int g = 0; g < count; ++g) {
        const Rows group(args, first_row + (first + g) * kLanes);
        tile_weights_32<Type>(group, block, blocks, w[g]);
        // Rows that lie apart were asked for when they were unpacked.
        if constexpr (!std::same_as<Rows, RowGroup>) add_blocks_ahead(group, next, next_end - next, ahead);
      }
      multiply_blocks_32(x, tiles, w, count, blocks, ahead, sums + first);
    }
  }
  store_sums(args, first_token, tokens, first_row, rows, sums);
}

template <typename Type, class Rows>
void multiply_32_tiles(const MultiplyArgs& args) {
  const Tiles configured(4, 6, 32);
  for_parts<kTileRows>(args, kTiled32Tokens, kTiled32Rows, [&](int64_t token, int tokens, int64_t row, int rows) {
    multiply_32_tiled<Type, Rows>(args, token, tokens, row, rows);
  });
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
#endif

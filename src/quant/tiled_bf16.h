// Products of bfloat16 weights with float activations on tiles; for types/bf16.simd.cpp. An activation is split into
// the bfloat16 nearest to it and the one nearest to what is left, which keeps 16 bits of it; products are exact, sums
// are single precision.
//
// Order of sums, for every (row, token) and every number of them: for each 32 columns in turn, the tile instruction's
// sum of the products with the large parts, then of those with the small parts. Only the columns of a whole number of
// 32 are taken; the caller sees to the others.
#pragma once

#include "quant/rows.h"
#include "quant/tiles.h"

#if defined(__AMX_BF16__)
namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kTiledBf16Rows = 256;    // rows that share split activations
constexpr int kTiledBf16Tokens = 192;  // tokens that share loaded weights
constexpr int kTiledBf16Pieces = 96;   // of 16 tokens and 32 columns that are split together

// 32 columns of 16 tokens: the large and the small parts. [i]: columns 2 i and 2 i + 1, lane t of token t.
struct SplitPiece {
  IntVec large[kTileRows];
  IntVec small[kTileRows];
};

// 32 numbers: the large and the small parts.
struct SplitColumns {
  __m512i large;
  __m512i small;
};
MOXIE_INLINE SplitColumns split_columns(const float* x) {
  const __m512 first = (__m512)load(x), second = (__m512)load(x + kLanes);
  const __m512i large = (__m512i)_mm512_cvtne2ps_pbh(second, first);
  auto rest = [](__m512 values, __m256i parts) {
    return _mm512_sub_ps(values, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(parts), 16)));
  };
  return {large, (__m512i)_mm512_cvtne2ps_pbh(rest(second, _mm512_extracti64x4_epi64(large, 1)),
                                              rest(first, _mm512_castsi512_si256(large)))};
}

// Tokens that are not there are zero.
MOXIE_INLINE void split_piece(const std::byte* from, size_t row_bytes, int tokens, SplitPiece& to) {
  IntVec large[kLanes], small[kLanes];
  for (int t = 0; t < kLanes; ++t) {
    large[t] = small[t] = IntVec{};
    if (t >= tokens) continue;
    const SplitColumns parts = split_columns(reinterpret_cast<const float*>(from + static_cast<size_t>(t) * row_bytes));
    large[t] = (IntVec)parts.large;
    small[t] = (IntVec)parts.small;
  }
  transpose(large, to.large);
  transpose(small, to.small);
}

// How the rows of a group lie: the bytes from one to the next, and from 32 columns to the next ones.
struct RowPlaces {
  size_t row, piece;
};
template <bool kInterleaved>
MOXIE_INLINE RowPlaces places_of(const MultiplyArgs& args) {
  if constexpr (kInterleaved) return {.row = 64, .piece = 64 * kTileRows};
  return {.row = args.row_bytes, .piece = 64};
}
// How many bytes ahead lines are asked for: of each row, or of all interleaved ones.
template <bool kInterleaved>
constexpr size_t kBf16Ahead = kInterleaved ? 4096 : 512;
constexpr size_t kBf16NearAhead = 2048;  // of interleaved rows and one token: both distances

using Bf16Sums = FloatVec[kTileRows];  // [r]: row r, lane t of token t

// 16 * kGroups rows times 16 * kTiles tokens over `pieces` pieces; piece i of tile t is x[t * pieces + i].
template <int kGroups, int kTiles>
MOXIE_INLINE void multiply_pieces(const std::byte* const (&rows)[2], RowPlaces places, const SplitPiece* x, int pieces,
                                  Bf16Sums* const (&sums)[2], size_t ahead) {
  const auto stride = static_cast<int64_t>(places.row);
  Tiles::memory_is_read();
  load_tile<0>(sums[0], 64);
  if constexpr (kTiles > 1) load_tile<1>(sums[0] + 1, 64);
  if constexpr (kGroups > 1) load_tile<2>(sums[1], 64);
  if constexpr (kGroups > 1 && kTiles > 1) load_tile<3>(sums[1] + 1, 64);
  for (int i = 0; i < pieces; ++i) {
    const size_t at = static_cast<size_t>(i) * places.piece;
    if (ahead != 0) {
      for (int g = 0; g < kGroups; ++g) {
        for (int r = 0; r < kTileRows; ++r) {
          __builtin_prefetch(rows[g] + static_cast<size_t>(r) * places.row + at + ahead);
        }
      }
    }
    load_tile<4>(rows[0] + at, stride);
    if constexpr (kGroups > 1) load_tile<5>(rows[1] + at, stride);
    load_tile<6>(x[i].large, 64);
    add_tile_products<0, 4, 6>();
    if constexpr (kGroups > 1) add_tile_products<2, 5, 6>();
    if constexpr (kTiles > 1) {
      load_tile<7>(x[pieces + i].large, 64);
      add_tile_products<1, 4, 7>();
      if constexpr (kGroups > 1) add_tile_products<3, 5, 7>();
    }
    load_tile<6>(x[i].small, 64);
    add_tile_products<0, 4, 6>();
    if constexpr (kGroups > 1) add_tile_products<2, 5, 6>();
    if constexpr (kTiles > 1) {
      load_tile<7>(x[pieces + i].small, 64);
      add_tile_products<1, 4, 7>();
      if constexpr (kGroups > 1) add_tile_products<3, 5, 7>();
    }
  }
  store_tile<0>(sums[0], 64);
  if constexpr (kTiles > 1) store_tile<1>(sums[0] + 1, 64);
  if constexpr (kGroups > 1) store_tile<2>(sums[1], 64);
  if constexpr (kGroups > 1 && kTiles > 1) store_tile<3>(sums[1] + 1, 64);
}

// Tokens [first_token, first_token + tokens) with rows [first_row, first_row + rows).
template <bool kInterleaved>
MOXIE_INLINE void multiply_bf16_part(const MultiplyArgs& args, int64_t first_token, int tokens, int64_t first_row,
                                     int rows) {
  constexpr int kMostTiles = kTiledBf16Tokens / kTileRows;
  const int tiles = (tokens + kTileRows - 1) / kTileRows, groups = (rows + kLanes - 1) / kLanes;
  const size_t x_bytes = args.activation_row_bytes;
  const std::byte* activations = args.activations + static_cast<size_t>(first_token) * x_bytes;
  const RowPlaces places = places_of<kInterleaved>(args);
  // The last group ends with the last row, computing some again; with fewer rows than a tile has, tiles are so small.
  auto first_of = [&](int group) {
    return group * kLanes + kLanes <= rows || rows < kLanes ? group * kLanes : rows - kLanes;
  };
  auto weights_of = [&](int group) {
    return args.weights + static_cast<size_t>(first_row + first_of(group)) * args.row_bytes;
  };
  SplitPiece x[kTiledBf16Pieces];
  Bf16Sums sums[kTiledBf16Rows / kLanes][kMostTiles];
  for (int g = 0; g < groups; ++g) std::memset(sums[g], 0, sizeof(Bf16Sums) * static_cast<size_t>(tiles));
  const int all_pieces = static_cast<int>(args.columns / 32), most = kTiledBf16Pieces / tiles;
  for (int piece = 0; piece < all_pieces; piece += most) {
    const int pieces = all_pieces - piece < most ? all_pieces - piece : most;
    for (int tile = 0; tile < tiles; ++tile) {
      for (int i = 0; i < pieces; ++i) {
        split_piece(
            activations + static_cast<size_t>(tile * kTileRows) * x_bytes + static_cast<size_t>(piece + i) * 128,
            x_bytes, tokens - tile * kTileRows, x[tile * pieces + i]);
      }
    }
    for (int g = 0; g < groups; g += 2) {
      const bool two = g + 1 < groups;
      const size_t at = static_cast<size_t>(piece) * places.piece;
      const std::byte* const from[2] = {weights_of(g) + at, weights_of(two ? g + 1 : g) + at};
      for (int tile = 0; tile < tiles; tile += 2) {
        Bf16Sums* const to[2] = {&sums[g][tile], &sums[two ? g + 1 : g][tile]};
        const SplitPiece* values = x + tile * pieces;
        const size_t ahead = tile == 0 ? kBf16Ahead<kInterleaved> : 0;
        if (two && tile + 1 < tiles) {
          multiply_pieces<2, 2>(from, places, values, pieces, to, ahead);
        } else if (two) {
          multiply_pieces<2, 1>(from, places, values, pieces, to, ahead);
        } else if (tile + 1 < tiles) {
          multiply_pieces<1, 2>(from, places, values, pieces, to, ahead);
        } else {
          multiply_pieces<1, 1>(from, places, values, pieces, to, ahead);
        }
      }
    }
  }
  for (int g = 0; g < groups; ++g) {
    for (int tile = 0; tile < tiles; ++tile) {
      IntVec by_row[kLanes], by_token[kLanes];
      for (int r = 0; r < kLanes; ++r) by_row[r] = (IntVec)sums[g][tile][r];
      transpose(by_row, by_token);
      for (int t = 0; t < kTileRows && tile * kTileRows + t < tokens; ++t) {
        float* out = args.out + (first_token + tile * kTileRows + t) * args.out_stride + first_row + first_of(g);
        if (rows >= kLanes) {
          store(out, (FloatVec)by_token[t]);
        } else {
          store_part(out, (FloatVec)by_token[t], rows);
        }
      }
    }
  }
}

// ---- one token: tiles of one column ----

constexpr int kTokenPieces = 448;

// 32 columns of a token.
struct TokenPiece {
  __m512i large;
  __m512i small;
};

// 16 * kGroups rows over `pieces` pieces.
template <bool kInterleaved, int kGroups>
MOXIE_INLINE void multiply_token_pieces(const std::byte* const (&rows)[2], RowPlaces places, const TokenPiece* x,
                                        int pieces, float* sums) {
  const auto stride = static_cast<int64_t>(places.row);
  Tiles::memory_is_read();
  load_tile<0>(sums, 4);
  if constexpr (kGroups > 1) load_tile<1>(sums + kTileRows, 4);
  for (int i = 0; i < pieces; ++i) {
    const size_t at = static_cast<size_t>(i) * places.piece;
#pragma GCC unroll 1  // for the reason that prefetch_streams() gives
    for (int r = 0; r < kTileRows; ++r) {
      for (int g = 0; g < kGroups; ++g) {
        const std::byte* const line = rows[g] + static_cast<size_t>(r) * places.row + at;
        if (kInterleaved) __builtin_prefetch(line + kBf16NearAhead);
        __builtin_prefetch(line + kBf16Ahead<kInterleaved>, 0, kInterleaved ? 2 : 3);
      }
    }
    load_tile<4>(rows[0] + at, stride);
    load_tile<6>(&x[i].large, 4);
    load_tile<7>(&x[i].small, 4);
    add_tile_products<0, 4, 6>();
    if constexpr (kGroups > 1) {
      load_tile<5>(rows[1] + at, stride);
      add_tile_products<1, 5, 6>();
    }
    add_tile_products<0, 4, 7>();
    if constexpr (kGroups > 1) add_tile_products<1, 5, 7>();
  }
  store_tile<0>(sums, 4);
  if constexpr (kGroups > 1) store_tile<1>(sums + kTileRows, 4);
}

// Every row, in tiles of which the last one ends with the last row.
template <bool kInterleaved>
void multiply_bf16_token(const MultiplyArgs& args) {
  const RowPlaces places = places_of<kInterleaved>(args);
  const float* activations = reinterpret_cast<const float*>(args.activations);
  const int tile_rows = static_cast<int>(args.rows < kTileRows ? args.rows : kTileRows);
  Tiles::configure(4, 6, 64, tile_rows, 4);
  TokenPiece x[kTokenPieces];
  float sums[2 * kTileRows];
  const int64_t all_pieces = args.columns / 32;
  for (int64_t piece = 0; piece < all_pieces; piece += kTokenPieces) {
    const int pieces = static_cast<int>(all_pieces - piece < kTokenPieces ? all_pieces - piece : kTokenPieces);
    for (int i = 0; i < pieces; ++i) {
      const SplitColumns parts = split_columns(activations + 32 * (piece + i));
      x[i] = {parts.large, parts.small};
    }
    for (int64_t row = 0; row < args.rows;) {
      const bool two = row + 2 * kTileRows <= args.rows;
      // Rows that tiles share are in the first one's results; the last one computes them anew and leaves them out.
      const int64_t first = two || row + tile_rows <= args.rows ? row : args.rows - tile_rows;
      const int64_t count = two ? 2 * kTileRows : tile_rows;
      const int64_t done = row - first;
      float* out = args.out + first;
      for (int64_t r = 0; r < count; ++r) sums[r] = piece == 0 || r < done ? 0 : out[r];
      const std::byte* const group =
          args.weights + static_cast<size_t>(first) * args.row_bytes + static_cast<size_t>(piece) * places.piece;
      const std::byte* const rows[2] = {group, two ? group + kTileRows * args.row_bytes : group};
      if (two) {
        multiply_token_pieces<kInterleaved, 2>(rows, places, x, pieces, sums);
      } else {
        multiply_token_pieces<kInterleaved, 1>(rows, places, x, pieces, sums);
      }
      for (int64_t r = done; r < count; ++r) out[r] = sums[r];
      row = first + count;
    }
  }
  Tiles::release();
}

// REQUIRES: columns are a multiple of 32; interleaved rows are whole groups.
template <bool kInterleaved>
void multiply_bf16_tiles(const MultiplyArgs& args) {
  if (args.tokens == 1) return multiply_bf16_token<kInterleaved>(args);
  int configured_rows = 0;
  for_parts<kTileRows>(args, kTiledBf16Tokens, kTiledBf16Rows, [&](int64_t token, int tokens, int64_t row, int rows) {
    const int tile_rows = rows < kTileRows ? rows : kTileRows;
    if (configured_rows != tile_rows) Tiles::configure(4, 6, 64, tile_rows, 64);
    configured_rows = tile_rows;
    multiply_bf16_part<kInterleaved>(args, token, tokens, row, rows);
  });
  Tiles::release();
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
#endif

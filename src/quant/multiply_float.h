// Products of weights with float activations, for types stored as floating-point numbers and for types without a kernel
// of their own, which are decoded first; for the *.simd.cpp files under types/ only.
//
// Lane l of a sum takes the columns c with c % kLanes == l, in order; then lanes are added by halves. So a (row, token)
// is summed the same way in every call, however its columns are cut into chunks.
//
// A source of weights is a class with static members
//   kStep                                              columns that are had together, a multiple of kLanes
//   void load(const std::byte* row, int64_t column, FloatVec* to)                  kStep columns of a row
//   void load_part(const std::byte* row, int64_t column, int64_t n, FloatVec* to)  the last n < kStep columns, then
//   zeros
//   int64_t bytes(int64_t columns)                     what so many columns of a row take, whole steps or all of them
#pragma once

#include <type_traits>

#include "core/simd.h"
#include "quant/parts.h"
#include "quant/quant_type.h"
#include "quant/rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

// ---- few tokens: weights go straight from memory into the sums ----

// Rows `row`, row + apart, ... kAsks: asks for their lines ahead.
template <typename Source, int kRows, int kTokens, bool kAsks = false>
void multiply_float_tile(const MultiplyArgs& args, int64_t row, int64_t token, int64_t apart = 1) {
  constexpr int kVectors = Source::kStep / kLanes;
  const std::byte* weights = args.weights + row * args.row_bytes;
  const int64_t stride = apart * static_cast<int64_t>(args.row_bytes);
  const float* x[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = reinterpret_cast<const float*>(args.activations + (token + t) * args.activation_row_bytes);
  }
  FloatVec sums[kRows][kTokens] = {};
  FloatVec w[kRows][kVectors];
  int64_t column = 0;
  for (; column + Source::kStep <= args.columns; column += Source::kStep) {
    if constexpr (kAsks) {
      if (Source::bytes(column) % 64 < Source::bytes(Source::kStep)) {
        for (int r = 0; r < kRows; ++r) {
          __builtin_prefetch(weights + r * stride + Source::bytes(column) + kOnceBytes, 0, 0);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) Source::load(weights + r * stride, column, w[r]);
    for (int v = 0; v < kVectors; ++v) {
      for (int t = 0; t < kTokens; ++t) {
        const FloatVec values = load(x[t] + column + v * kLanes);
        for (int r = 0; r < kRows; ++r) sums[r][t] = fma(w[r][v], values, sums[r][t]);
      }
    }
  }
  if (const int64_t left = args.columns - column; left > 0) {
    for (int r = 0; r < kRows; ++r) Source::load_part(weights + r * stride, column, left, w[r]);
    for (int t = 0; t < kTokens; ++t) {
      const FloatVec values = load_part(x[t] + column, left);
      for (int r = 0; r < kRows; ++r) sums[r][t] = fma(w[r][0], values, sums[r][t]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) args.out[(token + t) * args.out_stride + row + r * apart] = sum_lanes(sums[r][t]);
  }
}

template <typename Source, int kTokens>
void multiply_float_rows(const MultiplyArgs& args, int64_t token) {
  constexpr bool kNumbers = Source::kStep == kLanes;
  constexpr int kRows = kNumbers ? 4 : 1;  // decoded blocks of one row fill the registers
  int64_t row = 0;
  if constexpr (kTokens == 1 && kNumbers) {
    if (is_amd()) {
      const int64_t half = args.rows / 2;
      for (; row < half; ++row) multiply_float_tile<Source, 2, 1, true>(args, row, token, half);
      row = 2 * half;
    }
  }
  for (; row + kRows <= args.rows; row += kRows) multiply_float_tile<Source, kRows, kTokens>(args, row, token);
  for (; row < args.rows; ++row) multiply_float_tile<Source, 1, kTokens>(args, row, token);
}

// ---- many tokens: activations are copied side by side, once for many rows; weights are used where they lie, or
// decoded once into a panel. Copies and sums of a part are 0.9 MB of stack at most ----

struct FloatPart {
  static constexpr int kColumns = kLanes == 16 ? 1024 : 512;
  static constexpr int kRows = 128;                       // that share copied activations
  static constexpr int kTokens = kLanes == 16 ? 72 : 48;  // that share weights, converted or decoded
  static constexpr int kTileRows = 4;
  static constexpr int kTileTokens = kLanes == 16 ? 6 : 3;
  static constexpr int kLeastTokens = 6;  // with fewer, copying and decoding first does not pay
  static_assert(kTokens % kTileTokens == 0 && kRows % kTileRows == 0);
};

// Some columns of a tile's tokens in the order of use: rows of activations often lie whole pages apart, so that few of
// them find room in a cache.
using FloatActs = FloatVec[FloatPart::kColumns / kLanes][FloatPart::kTileTokens];
using FloatSums = FloatVec[FloatPart::kRows][FloatPart::kTokens];

// Columns [column, column + count) of `tokens` tokens; lanes beyond the last column are zero.
MOXIE_INLINE void copy_float_acts(const MultiplyArgs& args, int64_t token, int tokens, int64_t column, int64_t count,
                                  FloatActs& to) {
  for (int t = 0; t < tokens; ++t) {
    const float* x =
        reinterpret_cast<const float*>(args.activations + (token + t) * args.activation_row_bytes) + column;
    int64_t vector = 0;
    for (; (vector + 1) * kLanes <= count; ++vector) to[vector][t] = load(x + vector * kLanes);
    if (const int64_t left = count - vector * kLanes; left > 0) to[vector][t] = load_part(x + vector * kLanes, left);
  }
}

// Goes on with the sums of kTileRows rows and kTokens tokens of a tile, from `first` on, over `count` columns.
template <int kTokens, class Weights>
void multiply_tile_of_part(const Weights& weights, const FloatActs& x, int first, int64_t count,
                           FloatVec (*sums_of_rows)[FloatPart::kTokens], int token) {
  constexpr int kRows = FloatPart::kTileRows;
  FloatVec sums[kRows][kTokens];
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) sums[r][t] = sums_of_rows[r][token + t];
  }
  const int64_t vectors = count / kLanes, left = count % kLanes;
  for (int64_t vector = 0; vector < vectors; ++vector) {
    FloatVec values[kTokens];
    for (int t = 0; t < kTokens; ++t) values[t] = x[vector][first + t];
    for (int r = 0; r < kRows; ++r) {
      const FloatVec w = weights.load(r, vector);
      for (int t = 0; t < kTokens; ++t) sums[r][t] = fma(w, values[t], sums[r][t]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    if (left > 0) {
      const FloatVec w = weights.load_part(r, vectors, left);
      for (int t = 0; t < kTokens; ++t) sums[r][t] = fma(w, x[vectors][first + t], sums[r][t]);
    }
    for (int t = 0; t < kTokens; ++t) sums_of_rows[r][token + t] = sums[r][t];
  }
}

// All columns of up to FloatPart::kTokens tokens and kRows rows. Weights has some columns of up to kTileRows rows:
//   take(args, row, rows, column, count)      has columns [column, column + count) of `rows` rows from now on
//   load(r, vector), load_part(r, vector, n)  kLanes of them, counted from `column`; of the last vector n, then zeros.
//                                             r may be any of kTileRows: sums of rows that are not there go nowhere
//   add_ahead(args, row, rows, column, count, ahead)  asks for what it will take later, if it can
template <class Weights>
void multiply_float_part(const MultiplyArgs& args, int64_t token, int tokens, int64_t row, int rows) {
  constexpr int kTile = FloatPart::kTileTokens, kTileRows = FloatPart::kTileRows;
  Weights weights;
  FloatActs x[FloatPart::kTokens / kTile];
  FloatSums sums;
  const int tiles = (tokens + kTile - 1) / kTile;
  const auto tile_rows = [&](int r) { return rows - r < kTileRows ? rows - r : kTileRows; };
  const auto part_columns = [&](int64_t column) {
    const int64_t left = args.columns - column;
    return left < FloatPart::kColumns ? left : FloatPart::kColumns;
  };
  const int all_rows = (rows + kTileRows - 1) / kTileRows * kTileRows;
  for (int r = 0; r < all_rows; ++r) std::memset(sums[r], 0, sizeof(FloatVec) * static_cast<size_t>(tokens));
  for (int64_t column = 0; column < args.columns; column += FloatPart::kColumns) {
    const int64_t count = part_columns(column);
    for (int tile = 0; tile < tiles; ++tile) {
      const int left = tokens - tile * kTile;
      copy_float_acts(args, token + tile * kTile, left < kTile ? left : kTile, column, count, x[tile]);
    }
    for (int r = 0; r < rows; r += kTileRows) {
      weights.take(args, row + r, tile_rows(r), column, count);
      RowsAhead ahead;
      const int64_t next_column = column + FloatPart::kColumns;
      if (r + kTileRows < rows) {
        const int next = r + kTileRows;
        Weights::add_ahead(args, row + next, tile_rows(next), column, count, ahead);
      } else if (next_column < args.columns) {
        Weights::add_ahead(args, row, tile_rows(0), next_column, part_columns(next_column), ahead);
      }
      ahead.begin(tiles);
      for (int tile = 0; tile < tiles; ++tile) {
        ahead.step();
        const int first = tile * kTile, left = tokens - first;
        const auto multiply_tile = [&]<int kTokens>(int t) {
          multiply_tile_of_part<kTokens>(weights, x[tile], t, count, sums + r, first + t);
        };
        if (left >= kTile) {
          multiply_tile.template operator()<kTile>(0);
          continue;
        }
        int t = 0;
        for (; t + 2 <= left; t += 2) multiply_tile.template operator()<2>(t);
        if (t < left) multiply_tile.template operator()<1>(t);
      }
    }
  }
  for (int t = 0; t < tokens; ++t) {
    float* out = args.out + (token + t) * args.out_stride + row;
    for (int r = 0; r < rows; ++r) out[r] = sum_lanes(sums[r][t]);
  }
}

template <class Weights>
void multiply_float_parts(const MultiplyArgs& args) {
  for_parts<FloatPart::kTileTokens>(args, FloatPart::kTokens, FloatPart::kRows,
                                    [&](int64_t token, int tokens, int64_t row, int rows) {
                                      multiply_float_part<Weights>(args, token, tokens, row, rows);
                                    });
}

// Numbers stored one by one, where they lie.
template <typename Source>
class StoredRows {
 public:
  MOXIE_INLINE void take(const MultiplyArgs& args, int64_t row, int rows, int64_t column, int64_t) {
    for (int r = 0; r < FloatPart::kTileRows; ++r) {
      rows_[r] = args.weights + (row + (r < rows ? r : rows - 1)) * args.row_bytes + Source::bytes(column);
    }
  }
  MOXIE_INLINE FloatVec load(int r, int64_t vector) const {
    FloatVec weights;
    Source::load(rows_[r], vector * kLanes, &weights);
    return weights;
  }
  MOXIE_INLINE FloatVec load_part(int r, int64_t vector, int64_t n) const {
    FloatVec weights;
    Source::load_part(rows_[r], vector * kLanes, n, &weights);
    return weights;
  }
  static void add_ahead(const MultiplyArgs& args, int64_t row, int rows, int64_t column, int64_t count,
                        RowsAhead& ahead) {
    ahead.add(args.weights + row * args.row_bytes + Source::bytes(column), args.row_bytes, rows,
              static_cast<size_t>(Source::bytes(count)));
  }

 private:
  const std::byte* rows_[FloatPart::kTileRows];
};

// What was decoded.
class FloatPanel {
 public:
  MOXIE_INLINE FloatVec load(int r, int64_t vector) const { return panel_[r][vector]; }
  MOXIE_INLINE FloatVec load_part(int r, int64_t vector, int64_t) const { return panel_[r][vector]; }

 protected:
  // Zeros, since rows that never were taken are loaded too.
  FloatVec panel_[FloatPart::kTileRows][FloatPart::kColumns / kLanes] = {};
};

// Blocks of rows that lie in memory one after another.
template <typename Source>
class DecodedRows : public FloatPanel {
 public:
  MOXIE_INLINE void take(const MultiplyArgs& args, int64_t row, int rows, int64_t column, int64_t count) {
    for (int r = 0; r < rows; ++r) {
      const std::byte* weights = args.weights + (row + r) * args.row_bytes;
      for (int64_t i = 0; i < count; i += Source::kStep) Source::load(weights, column + i, &panel_[r][i / kLanes]);
    }
  }
  static void add_ahead(const MultiplyArgs& args, int64_t row, int rows, int64_t column, int64_t count,
                        RowsAhead& ahead) {
    StoredRows<Source>::add_ahead(args, row, rows, column, count, ahead);
  }
};

template <typename Source>
void multiply_float(const MultiplyArgs& args) {
  constexpr bool kNumbers = Source::kStep == kLanes;
  static_assert(FloatPart::kColumns % Source::kStep == 0);
  if (args.tokens >= FloatPart::kLeastTokens) {
    return multiply_float_parts<std::conditional_t<kNumbers, StoredRows<Source>, DecodedRows<Source>>>(args);
  }
  int64_t token = 0;
  for (; token + 4 <= args.tokens; token += 4) multiply_float_rows<Source, 4>(args, token);
  for (; token < args.tokens; ++token) multiply_float_rows<Source, 1>(args, token);
}

// ---- sources ----

// Numbers stored one by one: kLoad(p) gives kLanes of them as floats, kLoadPart(p, n) the first n.
template <typename Number, auto kLoad, auto kLoadPart>
struct NumberSource {
  static constexpr int kStep = kLanes;
  MOXIE_INLINE static void load(const std::byte* row, int64_t column, FloatVec* to) {
    *to = kLoad(row + column * static_cast<int64_t>(sizeof(Number)));
  }
  MOXIE_INLINE static void load_part(const std::byte* row, int64_t column, int64_t n, FloatVec* to) {
    *to = kLoadPart(row + column * static_cast<int64_t>(sizeof(Number)), n);
  }
  static int64_t bytes(int64_t columns) { return columns * static_cast<int64_t>(sizeof(Number)); }
};

// Blocks that kDecode turns into floats. Rows are whole blocks.
template <typename Block, auto kDecode, int kValues>
struct DecodedSource {
  static constexpr int kStep = kValues;
  static_assert(kValues % kLanes == 0);
  MOXIE_INLINE static void load(const std::byte* row, int64_t column, FloatVec* to) {
    kDecode(reinterpret_cast<const Block*>(row)[column / kValues], reinterpret_cast<float*>(to));
  }
  MOXIE_INLINE static void load_part(const std::byte*, int64_t, int64_t, FloatVec*) {}
  static int64_t bytes(int64_t columns) { return columns / kValues * static_cast<int64_t>(sizeof(Block)); }
};

}  // namespace
}  // namespace moxie::MOXIE_TARGET

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
#pragma once

#include "core/simd.h"
#include "quant/quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

// ---- few tokens: weights go straight from memory into the sums ----

template <typename Source, int kRows, int kTokens>
void multiply_float_tile(const MultiplyArgs& args, int64_t row, int64_t token) {
  constexpr int kVectors = Source::kStep / kLanes;
  const std::byte* weights = args.weights + row * args.row_bytes;
  const float* x[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = reinterpret_cast<const float*>(args.activations + (token + t) * args.activation_row_bytes);
  }
  FloatVec sums[kRows][kTokens] = {};
  FloatVec w[kRows][kVectors];
  int64_t column = 0;
  for (; column + Source::kStep <= args.columns; column += Source::kStep) {
    for (int r = 0; r < kRows; ++r) Source::load(weights + r * args.row_bytes, column, w[r]);
    for (int v = 0; v < kVectors; ++v) {
      for (int t = 0; t < kTokens; ++t) {
        const FloatVec values = load(x[t] + column + v * kLanes);
        for (int r = 0; r < kRows; ++r) sums[r][t] = fma(w[r][v], values, sums[r][t]);
      }
    }
  }
  if (const int64_t left = args.columns - column; left > 0) {
    for (int r = 0; r < kRows; ++r) Source::load_part(weights + r * args.row_bytes, column, left, w[r]);
    for (int t = 0; t < kTokens; ++t) {
      const FloatVec values = load_part(x[t] + column, left);
      for (int r = 0; r < kRows; ++r) sums[r][t] = fma(w[r][0], values, sums[r][t]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) args.out[(token + t) * args.out_stride + row + r] = sum_lanes(sums[r][t]);
  }
}

template <typename Source, int kTokens>
void multiply_float_rows(const MultiplyArgs& args, int64_t token) {
  constexpr int kRows = Source::kStep == kLanes ? 4 : 1;  // decoded blocks of one row fill the registers
  int64_t row = 0;
  for (; row + kRows <= args.rows; row += kRows) multiply_float_tile<Source, kRows, kTokens>(args, row, token);
  for (; row < args.rows; ++row) multiply_float_tile<Source, 1, kTokens>(args, row, token);
}

// ---- many tokens: a panel of weights, decoded once, and the activations' columns beside it stay in the caches ----

struct FloatPanel {
  static constexpr int kRows = 16;
  static constexpr int kColumns = 512;
  static constexpr int kTokens = 48;
  static constexpr int kTileRows = 4;
  static constexpr int kTileTokens = kLanes == 16 ? 6 : 3;
  static constexpr int kLeastTokens = 6;  // with fewer, decoding twice is not worth avoiding

  FloatVec weights[kRows][kColumns / kLanes];
  FloatVec sums[kRows][kTokens];
};

// Goes on with the sums of kTileRows rows and kTokens tokens over `columns` columns of the panel.
template <int kTokens>
void multiply_panel_tile(FloatPanel& panel, int row, int token, const std::byte* activations,
                         size_t activation_row_bytes, int64_t columns) {
  constexpr int kRows = FloatPanel::kTileRows;
  const float* x[kTokens];
  FloatVec sums[kRows][kTokens];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = reinterpret_cast<const float*>(activations + (token + t) * activation_row_bytes);
    for (int r = 0; r < kRows; ++r) sums[r][t] = panel.sums[row + r][token + t];
  }
  const FloatVec* weights = panel.weights[row];
  constexpr int kStride = FloatPanel::kColumns / kLanes;
  auto add = [&](int64_t vector, const FloatVec(&values)[kTokens]) {
    for (int r = 0; r < kRows; ++r) {
      const FloatVec w = weights[r * kStride + vector];
      for (int t = 0; t < kTokens; ++t) sums[r][t] = fma(w, values[t], sums[r][t]);
    }
  };
  FloatVec values[kTokens];
  int64_t vector = 0;
  for (; (vector + 1) * kLanes <= columns; ++vector) {
    for (int t = 0; t < kTokens; ++t) values[t] = load(x[t] + vector * kLanes);
    add(vector, values);
  }
  if (const int64_t left = columns - vector * kLanes; left > 0) {
    for (int t = 0; t < kTokens; ++t) values[t] = load_part(x[t] + vector * kLanes, left);
    add(vector, values);
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) panel.sums[row + r][token + t] = sums[r][t];
  }
}

// Columns [column, column + count) of `rows` rows; rows up to the next whole tile are zero.
template <typename Source>
void fill_float_panel(const MultiplyArgs& args, int64_t row, int rows, int64_t column, int64_t count,
                      FloatPanel& panel) {
  for (int r = 0; r < rows; ++r) {
    const std::byte* weights = args.weights + (row + r) * args.row_bytes;
    int64_t i = 0;
    for (; i + Source::kStep <= count; i += Source::kStep) {
      Source::load(weights, column + i, &panel.weights[r][i / kLanes]);
    }
    if (i < count) Source::load_part(weights, column + i, count - i, &panel.weights[r][i / kLanes]);
  }
  for (int r = rows; r % FloatPanel::kTileRows != 0; ++r) std::memset(panel.weights[r], 0, sizeof panel.weights[r]);
}

// All columns of up to kRows rows and kTokens tokens. kFill fills a panel: (args, row, rows, column, count, panel).
template <auto kFill>
void multiply_float_panel(const MultiplyArgs& args, int64_t row, int rows, int64_t token, int tokens,
                          FloatPanel& panel) {
  std::memset(panel.sums, 0, sizeof panel.sums);
  const size_t x_bytes = args.activation_row_bytes;
  for (int64_t column = 0; column < args.columns; column += FloatPanel::kColumns) {
    const int64_t left = args.columns - column, count = left < FloatPanel::kColumns ? left : FloatPanel::kColumns;
    kFill(args, row, rows, column, count, panel);
    const std::byte* x = args.activations + token * x_bytes + column * static_cast<int64_t>(sizeof(float));
    auto all_rows = [&]<int kTokens>(int t) {
      for (int r = 0; r < rows; r += FloatPanel::kTileRows)
        multiply_panel_tile<kTokens>(panel, r, t, x, x_bytes, count);
    };
    constexpr int kTile = FloatPanel::kTileTokens;
    int t = 0;
    for (; t + kTile <= tokens; t += kTile) all_rows.template operator()<kTile>(t);
    for (; t + 2 <= tokens; t += 2) all_rows.template operator()<2>(t);
    if (t < tokens) all_rows.template operator()<1>(t);
  }
  for (int t = 0; t < tokens; ++t) {
    float* out = args.out + (token + t) * args.out_stride + row;
    for (int r = 0; r < rows; ++r) out[r] = sum_lanes(panel.sums[r][t]);
  }
}

template <typename Source>
void multiply_float(const MultiplyArgs& args) {
  static_assert(FloatPanel::kColumns % Source::kStep == 0);
  int64_t token = 0;
  if (args.tokens >= FloatPanel::kLeastTokens) {
    FloatPanel panel;
    for (; token < args.tokens; token += FloatPanel::kTokens) {
      const int64_t left = args.tokens - token;
      const int tokens = static_cast<int>(left < FloatPanel::kTokens ? left : FloatPanel::kTokens);
      for (int64_t row = 0; row < args.rows; row += FloatPanel::kRows) {
        const int64_t rows = args.rows - row < FloatPanel::kRows ? args.rows - row : FloatPanel::kRows;
        multiply_float_panel<fill_float_panel<Source>>(args, row, static_cast<int>(rows), token, tokens, panel);
      }
    }
  }
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
};

}  // namespace
}  // namespace moxie::MOXIE_TARGET

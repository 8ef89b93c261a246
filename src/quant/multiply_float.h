// Products of weights stored as floating-point numbers of any width with float activations; for the *.simd.cpp files
// under types/ only. Lane l of a sum takes the columns c with c % kLanes == l, in order; then lanes are added by
// halves.
#pragma once

#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

// kLoad(p) gives kLanes numbers, kLoadPart(p, n) the first n of them and zeros.
template <typename Number, auto kLoad, auto kLoadPart, int kRows, int kTokens>
void multiply_float_tile(const MultiplyArgs& args, int64_t row, int64_t token) {
  const std::byte* weights = args.weights + row * args.row_bytes;
  const std::byte* activations = args.activations + token * args.activation_row_bytes;
  FloatVec sums[kRows][kTokens] = {};
  auto step = [&](int64_t column, auto load_weights, auto load_activations) {
    FloatVec x[kTokens];
    for (int t = 0; t < kTokens; ++t) {
      x[t] = load_activations(reinterpret_cast<const float*>(activations + t * args.activation_row_bytes) + column);
    }
    for (int r = 0; r < kRows; ++r) {
      const FloatVec w = load_weights(weights + r * args.row_bytes + column * sizeof(Number));
      for (int t = 0; t < kTokens; ++t) sums[r][t] = fma(w, x[t], sums[r][t]);
    }
  };
  int64_t column = 0;
  for (; column + kLanes <= args.columns; column += kLanes) step(column, kLoad, load);
  if (const int64_t left = args.columns - column; left > 0) {
    step(
        column, [&](const std::byte* p) { return kLoadPart(p, left); },
        [&](const float* p) { return load_part(p, left); });
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) args.out[(token + t) * args.out_stride + row + r] = sum_lanes(sums[r][t]);
  }
}

template <typename Number, auto kLoad, auto kLoadPart, int kRows>
void multiply_float_rows(const MultiplyArgs& args, int64_t row) {
  int64_t token = 0;
  for (; token + 4 <= args.tokens; token += 4)
    multiply_float_tile<Number, kLoad, kLoadPart, kRows, 4>(args, row, token);
  for (; token < args.tokens; ++token) multiply_float_tile<Number, kLoad, kLoadPart, kRows, 1>(args, row, token);
}

template <typename Number, auto kLoad, auto kLoadPart>
void multiply_float(const MultiplyArgs& args) {
  int64_t row = 0;
  for (; row + 4 <= args.rows; row += 4) multiply_float_rows<Number, kLoad, kLoadPart, 4>(args, row);
  for (; row < args.rows; ++row) multiply_float_rows<Number, kLoad, kLoadPart, 1>(args, row);
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

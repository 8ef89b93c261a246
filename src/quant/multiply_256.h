// Products of the types whose blocks hold 256 values with activations in ActBlock256; for the *.simd.cpp files under types/.
//
// A type gives a class Parts, made from one block, with
//   Block                        the layout
//   kMinimum                     whether a block subtracts a second scale times the minima
//   Bytes or SignedBytes quants(int piece)   the quants of a piece, 0 to 63, or signed without -128
//   Shorts16 scales()            sub-block scales, one per 16 values
//   Shorts16 sum_scales()        what the activations' sums of 16 are multiplied with: the minima, or the scales times the
//                                number that the quants are stored too large by, negated
//   float scale(), minimum()     of the block
//
// Per block the integers are exact, whatever the width of vectors: total = sum of quant * scale * x over the block. Then
// sum = fma(total, scale * x.scale, sum), with minima also sum = fma(-minima, minimum * x.scale, sum): one chain over the blocks
// for each (row, token), the same in every path and on every target but for the rounding of an unfused multiply-add.
#pragma once

#include "quant/byte_products.h"
#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

// kRows rows times kTokens tokens. Where fewer are left the last ones are computed again and not stored.
template <typename Parts, int kRows, int kTokens>
void multiply_256_tile(const MultiplyArgs& args, int64_t row, int64_t token) {
  constexpr int kSums = kRows * kTokens;
  static_assert(kSums % 4 == 0, "lanes are summed for four results at a time");
  using Block = typename Parts::Block;
  const Block* weights[kRows];
  const ActBlock256* x[kTokens];
  for (int r = 0; r < kRows; ++r) {
    const int64_t index = row + r < args.rows ? row + r : args.rows - 1;
    weights[r] = reinterpret_cast<const Block*>(args.weights + index * args.row_bytes);
  }
  for (int t = 0; t < kTokens; ++t) {
    const int64_t index = token + t < args.tokens ? token + t : args.tokens - 1;
    x[t] = reinterpret_cast<const ActBlock256*>(args.activations + index * args.activation_row_bytes);
  }
  Float4 sums[kSums / 4] = {};
  for (int64_t block = 0; block < args.columns / 256; ++block) {
    IntVec totals[kSums];
    PartialSums minima[kSums];
    float scales[kRows], minimum_scales[kRows];
    for (int r = 0; r < kRows; ++r) {
      const Parts parts(weights[r][block]);
      scales[r] = parts.scale();
      if constexpr (Parts::kMinimum) minimum_scales[r] = parts.minimum();
      if constexpr (Parts::kSumScales) {
        const Shorts16 sum_scales = parts.sum_scales();
        for (int t = 0; t < kTokens; ++t) minima[r * kTokens + t] = sum_products(sum_scales, x[t][block].sums);
      }
      for (int t = 0; t < kTokens; ++t) {
        totals[r * kTokens + t] = Parts::kSumScales && !Parts::kMinimum ? widen(minima[r * kTokens + t]) : IntVec{};
      }
      const LaneScales lane_scales(parts.scales());
#pragma GCC unroll 16
      for (int piece = 0; piece < 256 / kByteLanes; ++piece) {
        const auto quants = parts.quants(piece);
        const Shorts piece_scales = lane_scales.piece(piece);
        for (int t = 0; t < kTokens; ++t) {
          const SignedBytes values = (SignedBytes)load_bytes(x[t][block].values + kByteLanes * piece);
          totals[r * kTokens + t] = add_products(totals[r * kTokens + t], quants, values, piece_scales);
        }
      }
    }
    for (int i = 0; i < kSums; i += 4) {
      auto act_scale = [&](int j) { return x[(i + j) % kTokens][block].scale; };
      auto row_of = [&](int j) { return (i + j) / kTokens; };
      const Float4 x_scale = {act_scale(0), act_scale(1), act_scale(2), act_scale(3)};
      const Float4 scale = {scales[row_of(0)], scales[row_of(1)], scales[row_of(2)], scales[row_of(3)]};
      const Int4 total = sum_each(totals[i], totals[i + 1], totals[i + 2], totals[i + 3]);
      sums[i / 4] = fma(__builtin_convertvector(total, Float4), scale * x_scale, sums[i / 4]);
      if constexpr (Parts::kMinimum) {
        const Float4 minimum = {minimum_scales[row_of(0)], minimum_scales[row_of(1)], minimum_scales[row_of(2)],
                                minimum_scales[row_of(3)]};
        const Int4 minus = -sum_each(minima[i], minima[i + 1], minima[i + 2], minima[i + 3]);
        sums[i / 4] = fma(__builtin_convertvector(minus, Float4), minimum * x_scale, sums[i / 4]);
      }
    }
  }
  for (int i = 0; i < kSums; ++i) {
    const int64_t r = row + i / kTokens, t = token + i % kTokens;
    if (r < args.rows && t < args.tokens) args.out[t * args.out_stride + r] = sums[i / 4][i % 4];
  }
}

template <typename Parts>
void multiply_256(const MultiplyArgs& args) {
  int64_t token = 0;
  for (; token + 3 <= args.tokens; token += 4) {
    for (int64_t row = 0; row < args.rows; ++row) multiply_256_tile<Parts, 1, 4>(args, row, token);
  }
  for (; token < args.tokens; ++token) {
    for (int64_t row = 0; row < args.rows; row += 4) multiply_256_tile<Parts, 4, 1>(args, row, token);
  }
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

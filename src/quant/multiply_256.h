// Products of the types whose blocks hold 256 values with activations in ActBlock256; for the *.simd.cpp files under
// types/.
//
// A type gives a class Parts, made from one block, with
//   Block                  the layout
//   kScaleAt               where in a block the half-precision scale stands; that of the minima follows it
//   kRawAt, kRawBytes      where the bytes of the quants stand, and how many: a multiple of 32
//   kSubValues             how many values have a scale of their own: 16 or 32
//   kSigned, kLargest      whether quants are signed; up to where they go (at most 127)
//   kOffset                what they are stored too large by; 0 if they are signed or the block has minima
//   static quants(raw, i)  the quants as Bytes or, if kSigned, SignedBytes without -128: of piece i where raw is a
//                          block's bytes, of dword i where raw are dwords of many rows; planes() takes either
//   sub_scales()           the sub-blocks' scales, one per 16 values
//   scales(factors)        the same times the activations' factors, as ByteScales or SixteenScales, for pieces
//   kUnpacksFast           given, without minima, where a core with vectors of 64 bytes unpacks rows much faster than
//                          it reads them
//   kMinimum               whether sub-blocks have minima: then
//   sub_minima()           gives them, one per 16 values; they are multiplied with a scale of their own and subtracted
// and, where rows can be interleaved, what interleaved_256.h wants.
//
// Per block the integers are exact, whatever the width of vectors: total = sum of quant * scale * factor * x over the
// block, below 2^31 since factors are at most kMaxActFactor. Then, with minima, sum = fma(-minima, minimum * x.scale,
// sum), and sum = fma(total, scale * x.scale, sum): one chain over the blocks for each (row, token), the same in every
// path and on every target but for the rounding of an unfused multiply-add.
#pragma once

#include "quant/byte_products.h"
#include "quant/make_quant_type.h"
#include "quant/panel_256.h"
#include "quant/tiled_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

// The scales of the blocks of four results of a tile, which counts tokens first.
template <typename Parts, int kTokens>
MOXIE_INLINE HalfPairs load_scales(const typename Parts::Block* const* weights, int64_t block, int first) {
  auto at = [&](int i) {
    return reinterpret_cast<const std::byte*>(weights[(first + i) / kTokens] + block) + Parts::kScaleAt;
  };
  if constexpr (kTokens % 4 == 0) {
    const float minimum = Parts::kMinimum ? half_to_float(load_u16(at(0) + 2)) : 0;
    return {half_to_float(load_u16(at(0))) - Float4{}, minimum - Float4{}};
  } else if constexpr (Parts::kMinimum) {
    return load_half_pairs(at(0), at(1), at(2), at(3));
  } else {
    return {load_halves(at(0), at(1), at(2), at(3)), Float4{}};
  }
}

// The exact sums over a block of one row, for kTokens tokens, in lanes: x[t] is the block of token t. Without minima
// `minima` is not used.
template <typename Parts, int kTokens>
MOXIE_INLINE void sum_block(const typename Parts::Block& weights, const ActBlock256* const (&x)[kTokens],
                            IntVec* totals, PartialSums* minima) {
  const Parts parts(weights);
  const uint8_t* raw = reinterpret_cast<const uint8_t*>(&weights) + Parts::kRawAt;
  decltype(parts.scales(Factors(x[0]->factors))) scales[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    totals[t] = IntVec{};
    if constexpr (Parts::kMinimum) minima[t] = sum_products(parts.sub_minima(), x[t]->sums);
    if constexpr (Parts::kOffset != 0) {
      totals[t] = widen(sum_products(times(parts.sub_scales(), -Parts::kOffset), x[t]->sums));
    }
    scales[t] = parts.scales(Factors(x[t]->factors));
  }
#pragma GCC unroll 16
  for (int piece = 0; piece < 256 / kByteLanes; ++piece) {
    const auto quants = Parts::quants(raw, piece);
    for (int t = 0; t < kTokens; ++t) {
      const SignedBytes values = (SignedBytes)load_bytes(x[t]->values + kByteLanes * piece);
      totals[t] = add_products(totals[t], quants, values, scales[t].piece(piece));
    }
  }
}

// kRows rows times all tokens. Where fewer rows are left the last one is computed again and not stored.
template <typename Parts, int kRows, int kTokens>
void multiply_256_tile(const MultiplyArgs& args, int64_t row) {
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
    x[t] = reinterpret_cast<const ActBlock256*>(args.activations + t * args.activation_row_bytes);
  }
  Float4 sums[kSums / 4] = {};
  for (int64_t block = 0; block < args.columns / 256; ++block) {
    IntVec totals[kSums];
    PartialSums minima[kSums];
    const ActBlock256* of_block[kTokens];
    for (int t = 0; t < kTokens; ++t) of_block[t] = x[t] + block;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      // The next rows, once through the caches per call: processors foresee the few blocks of a row too late. From 10
      // to 14 GB/s on a core that reads 15.
      prefetch_block(weights[r] + block, kRows * args.row_bytes);
      sum_block<Parts>(weights[r][block], of_block, totals + r * kTokens, minima + r * kTokens);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kSums; i += 4) {
      auto act_scale = [&](int j) { return x[(i + j) % kTokens][block].scale; };
      const Float4 x_scales = {act_scale(0), act_scale(1), act_scale(2), act_scale(3)};
      const HalfPairs scales = load_scales<Parts, kTokens>(weights, block, i);
      if constexpr (Parts::kMinimum) {
        const Int4 minus = sum_each(minima[i], minima[i + 1], minima[i + 2], minima[i + 3]);
        sums[i / 4] = fma(-__builtin_convertvector(minus, Float4), scales.second * x_scales, sums[i / 4]);
      }
      const Int4 total = sum_each(totals[i], totals[i + 1], totals[i + 2], totals[i + 3]);
      sums[i / 4] = fma(__builtin_convertvector(total, Float4), scales.first * x_scales, sums[i / 4]);
    }
  }
  for (int i = 0; i < kSums; ++i) {
    const int64_t r = row + i / kTokens, t = i % kTokens;
    if (r < args.rows) args.out[t * args.out_stride + r] = sums[i / 4][i % 4];
  }
}

// One token, on AMD's processors: rows half of the matrix apart are two streams, two blocks of each at a time. Of
// q6_k a Zen 5 reads 40 GB/s so and 29 in tiles of four rows; but it sums the lanes of four blocks of one row later
// than those of one block of four, which slows types down that take longer to unpack.
template <typename Parts>
void multiply_256_streams(const MultiplyArgs& args) {
  static_assert(!Parts::kMinimum);
  using Block = typename Parts::Block;
  const int64_t blocks = args.columns / 256, half = (args.rows + 1) / 2;
  const ActBlock256* x = reinterpret_cast<const ActBlock256*>(args.activations);
  for (int64_t row = 0; row < half; ++row) {
    const int64_t rows[2] = {row, row + half < args.rows ? row + half : args.rows - 1};
    const Block* weights[2];
    for (int s = 0; s < 2; ++s) {
      weights[s] = reinterpret_cast<const Block*>(args.weights + rows[s] * static_cast<int64_t>(args.row_bytes));
    }
    Float4 sums = {};  // of both rows, twice
    for (int64_t block = 0; block < blocks; block += 2) {
      const bool single = block + 1 == blocks;
      const int64_t ahead = kOnceBytes + block * static_cast<int64_t>(sizeof(Block)) / 64 * 64;
      ask_once<2>(reinterpret_cast<const std::byte*>(weights[0]) + ahead,
                  reinterpret_cast<const std::byte*>(weights[1]) + ahead, (2 * sizeof(Block) + 63) / 64);
      IntVec totals[4];  // of both rows, then those of the next block
      const Block* of[4];
      Float4 x_scales;
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
        const int64_t at = single ? block : block + k;
#pragma GCC unroll 2
        for (int s = 0; s < 2; ++s) {
          const int i = 2 * k + s;
          of[i] = weights[s] + at;
          sum_block<Parts, 1>(*of[i], {x + at}, totals + i, nullptr);
          x_scales[i] = x[at].scale;
        }
      }
      const auto next_of = [](Float4 v) { return __builtin_shufflevector(v, v, 2, 3, 2, 3); };
      const Float4 total = __builtin_convertvector(sum_each(totals[0], totals[1], totals[2], totals[3]), Float4);
      const Float4 scale = load_scales<Parts, 1>(of, 0, 0).first * x_scales;
      sums = fma(total, scale, sums);
      if (!single) sums = fma(next_of(total), next_of(scale), sums);
    }
    for (int s = 0; s < 2; ++s) args.out[rows[s]] = sums[s];
  }
}

template <typename Parts, int kTokens>
void multiply_256_few(const MultiplyArgs& args) {
  for (int64_t row = 0; row < args.rows; row += 4) multiply_256_tile<Parts, 4, kTokens>(args, row);
}

template <class Parts, class Rows>
using RowsOf = std::conditional_t<std::same_as<Rows, RowGroup>, RowGroup, InterleavedRows<Parts>>;

template <typename Parts, class Rows>
void multiply_256_many(const MultiplyArgs& args) {
#if defined(__AMX_INT8__)
  if (args.tokens >= kLeastTiled256Tokens) return multiply_256_tiles<Parts, Rows>(args);
#endif
  if constexpr (kHaveVnni && kRunsAreParts<Parts>) {
    if (is_amd()) return multiply_256_panels<LongRuns<Parts>, RowsOf<LongRuns<Parts>, Rows>>(args);
  }
  multiply_256_panels<Parts, Rows>(args);
}

template <typename Parts>
void multiply_plain_256(const MultiplyArgs& args) {
  switch (args.tokens) {  // with so few it costs more to fill a panel than to sum lanes
    case 1:
      if constexpr (kLanes == 16 && requires { Parts::kUnpacksFast; }) {
        if (is_amd()) return multiply_256_streams<Parts>(args);
      }
      return multiply_256_few<Parts, 1>(args);
    case 2:
      return multiply_256_few<Parts, 2>(args);
    case 3:
      return multiply_256_few<Parts, 3>(args);
    case 4:
      return multiply_256_few<Parts, 4>(args);
    default:
      return multiply_256_many<Parts, RowGroup>(args);
  }
}

template <typename Parts>
void multiply_256(const MultiplyArgs& args) {
  if constexpr (kInterleaves256<Parts>) {
    if (args.interleaved) {
      return multiply_groups(
          args,
          [](const MultiplyArgs& groups) {
            if (groups.tokens == 1) return multiply_interleaved_256<Parts, 1>(groups);
            if (groups.tokens == 2) return multiply_interleaved_256<Parts, 2>(groups);
            multiply_256_many<Parts, InterleavedRows<Parts>>(groups);
          },
          multiply_plain_256<Parts>);
    }
  }
  multiply_plain_256<Parts>(args);
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

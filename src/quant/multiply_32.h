// Products of the types whose blocks hold 32 small integers with activations in ActBlock32; for the *.simd.cpp files
// under types/.
//
// A type gives a class with only static members:
//   Block                 the layout
//   kSigned               whether unpacked bytes are signed (-127 to 127); else they are unsigned
//   kLargest              the largest magnitude of an unpacked byte
//   kOffset               what unsigned bytes are too large by (0 for signed ones)
//   kMinimum              whether a block adds a minimum to each value
//   Bytes64 unpack(const Block& a, const Block& b)      the integers of two blocks, in order
//   kScaleAt, kMinimumAt  where in a block the half-precision scale and minimum stand; or, in place of kScaleAt,
//   float scale(const Block&)
//   quants(words, i)      where rows can be interleaved: bytes 4i to 4i + 3 of the integers of each row, words being
//                         what follows the 16-bit numbers, which begin the block
//
// Order of sums: integers within a block are exact; then sum = fma(total, scale * x.scale, sum), with a minimum also
// sum = fma(x.sum, minimum * x.scale, sum): one chain over the blocks for each (row, token), the same in both paths
// below. Both give one vector lane to each row, so no lane is ever added to another.
#pragma once

#include "quant/make_quant_type.h"
#include "quant/tiled_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

// One step of the chain: a block of every row, whose exact sums are `totals`.
template <typename Type>
MOXIE_INLINE FloatVec add_block(FloatVec sums, IntVec totals, FloatVec scales, FloatVec minima, const ActBlock32& x) {
  sums = fma(to_float(totals), scales * x.scale, sums);
  if constexpr (Type::kMinimum) sums = fma(splat(static_cast<float>(x.sum)), minima * x.scale, sums);
  return sums;
}

// ---- one token: every weight is used once, straight from memory ----

template <typename Type>
void multiply_32_token(const MultiplyArgs& args, int64_t token) {
  const int64_t blocks = args.columns / 32;
  const ActBlock32* x = reinterpret_cast<const ActBlock32*>(args.activations + token * args.activation_row_bytes);
  float* out = args.out + token * args.out_stride;
  for (int64_t row = 0; row < args.rows; row += kLanes) {
    const RowGroup rows(args, row);
    FloatVec sums = {};
    auto add = [&](int64_t index, IntVec totals) {
      FloatVec minima = {};
      if constexpr (Type::kMinimum) minima = load_halves<Type>(rows, index, Type::kMinimumAt);
      sums = add_block<Type>(sums, totals - kProductOffset<Type> * x[index].sum, load_scales<Type>(rows, index), minima,
                             x[index]);
    };
    for (int64_t index = 0; index < blocks; index += 2) {
      const int64_t next = index + 1 < blocks ? index + 1 : index;  // an odd last block is paired with itself
      const Bytes64 values = load_32_32(x[index].values, x[next].values);
      IntParts products[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) {
        // The next rows: see multiply_256_tile.
        prefetch_block(&block_of<Type>(rows, r, index), kLanes * args.row_bytes, 2);
        const Bytes64 w = unpack_for_product<Type>(block_of<Type>(rows, r, index), block_of<Type>(rows, r, next));
        for (int p = 0; p < kParts; ++p) products[r].part[p] = multiply_bytes<Type::kSigned>(w.part[p], values.part[p]);
      }
      const IntPair totals = sum_rows(products);
      add(index, totals.a);
      if (next != index) add(next, totals.b);
    }
    rows.store_results(out + row, sums);
  }
}

// ---- interleaved rows ----

template <typename Type>
constexpr bool kInterleaves32 = requires(LaneWords words) {
  Type::quants(words, 0);
};

// values[i]: lane r holds bytes 4i to 4i + 3 of row r's block, as products take them.
template <typename Type>
MOXIE_INLINE void unpack_block(const InterleavedRows<Type>& rows, int64_t index, IntVec (&values)[8]) {
  const LaneWords words = rows.words(index, 2 * InterleavedRows<Type>::kHalves);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    ByteVec bytes = (ByteVec)Type::quants(words, i);
    if constexpr (Type::kSigned && kHaveVnni) bytes ^= 0x80;
    values[i] = (IntVec)bytes;
  }
}

// ---- several tokens: weights are unpacked once into a panel with a lane for each row ----

constexpr int kPanelBlocks =
    32;  // blocks of a row that a panel holds: with kLanes rows it stays in the first-level cache
constexpr int kPanelTokens = 192;  // tokens that share an unpacked panel

struct Panel {
  IntVec values[kPanelBlocks][8];  // values[b][i]: lane r holds bytes 4i to 4i + 3 of row r's block b
  FloatVec scales[kPanelBlocks];
  FloatVec minima[kPanelBlocks];
};

template <typename Type>
void unpack_blocks(const RowGroup& rows, int64_t first, int blocks, Panel& panel) {
  for (int b = 0; b < blocks; b += 2) {
    const int next = b + 1 < blocks ? b + 1 : b;
    Bytes64 unpacked[kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) {
      unpacked[r] = unpack_for_product<Type>(block_of<Type>(rows, r, first + b), block_of<Type>(rows, r, first + next));
    }
    transpose(unpacked, panel.values[b]);
  }
}
template <typename Type>
void unpack_blocks(const InterleavedRows<Type>& rows, int64_t first, int blocks, Panel& panel) {
  for (int b = 0; b < blocks; ++b) {
    fetch_block(rows, first + b + kPanelBlocks);
    unpack_block(rows, first + b, panel.values[b]);
  }
}

template <typename Type, class Rows>
void fill_panel(const Rows& rows, int64_t first, int blocks, Panel& panel) {
  unpack_blocks<Type>(rows, first, blocks, panel);
  for (int b = 0; b < blocks; ++b) {
    panel.scales[b] = load_scales<Type>(rows, first + b);
    if constexpr (Type::kMinimum) panel.minima[b] = load_halves<Type>(rows, first + b, Type::kMinimumAt);
  }
}

MOXIE_INLINE IntVec splat_4_bytes(const int8_t* from) {
  int32_t four;
  std::memcpy(&four, from, sizeof four);
  return splat_int(four);
}

// totals[t] += the exact sum over one block of each row, for kTokens tokens.
template <typename Type, int kTokens>
MOXIE_INLINE void multiply_block(const IntVec (&values)[8], const ActBlock32* const (&x)[kTokens], int64_t block,
                                 IntVec (&totals)[kTokens]) {
#if defined(__AVX512VNNI__)
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    for (int t = 0; t < kTokens; ++t) {
      const __m512i four = (__m512i)splat_4_bytes(x[t][block].values + 4 * i);
      totals[t] = (IntVec)_mm512_dpbusd_epi32((__m512i)totals[t], (__m512i)values[i], four);
    }
  }
#elif defined(__SSSE3__)
  // As many pair sums as fit are added up in 16 bits before they are widened.
  constexpr int kFit = 32767 / (2 * 127 * Type::kLargest);
  constexpr int kGroup = kFit >= 8 ? 8 : kFit >= 4 ? 4 : kFit >= 2 ? 2 : 1;
#pragma GCC unroll 8
  for (int first = 0; first < 8; first += kGroup) {
    ShortVec pairs[kTokens] = {};
#pragma GCC unroll 8
    for (int i = first; i < first + kGroup; ++i) {
      for (int t = 0; t < kTokens; ++t) {
        pairs[t] +=
            multiply_pairs<Type::kSigned>((ByteVec)values[i], (ByteVec)splat_4_bytes(x[t][block].values + 4 * i));
      }
    }
    for (int t = 0; t < kTokens; ++t) totals[t] += add_neighbours(pairs[t]);
  }
#else
  for (int i = 0; i < 8; ++i) {
    for (int t = 0; t < kTokens; ++t) {
      totals[t] +=
          multiply_bytes<Type::kSigned>((ByteVec)values[i], (ByteVec)splat_4_bytes(x[t][block].values + 4 * i));
    }
  }
#endif
}

// kTokens tokens times a panel: adds to sums[0 .. kTokens - 1].
template <typename Type, int kTokens>
void multiply_panel(const Panel& panel, int blocks, const std::byte* activations, size_t activation_row_bytes,
                    FloatVec* sums) {
  const ActBlock32* x[kTokens];
  FloatVec floats[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = reinterpret_cast<const ActBlock32*>(activations + t * activation_row_bytes);
    floats[t] = sums[t];
  }
  for (int b = 0; b < blocks; ++b) {
    IntVec totals[kTokens];
    for (int t = 0; t < kTokens; ++t) totals[t] = splat_int(-kProductOffset<Type> * x[t][b].sum);
    multiply_block<Type>(panel.values[b], x, b, totals);
    for (int t = 0; t < kTokens; ++t) {
      floats[t] = add_block<Type>(floats[t], totals[t], panel.scales[b], panel.minima[b], x[t][b]);
    }
  }
  for (int t = 0; t < kTokens; ++t) sums[t] = floats[t];
}

// One token times interleaved rows: as multiply_32_token, with the sums of multiply_panel.
template <typename Type>
void multiply_interleaved_32(const MultiplyArgs& args) {
  const int64_t blocks = args.columns / 32;
  const ActBlock32* x[1] = {reinterpret_cast<const ActBlock32*>(args.activations)};
  for (int64_t row = 0; row < args.rows; row += kStreams * kLanes) {
    const InterleavedRows<Type> rows[kStreams] = {{args, row}, {args, row + kLanes}};
    FloatVec sums[kStreams] = {};
    for (int64_t b = 0; b < blocks; ++b) {
      for (int s = 0; s < kStreams; ++s) {
        rows[s].template prefetch<1>(b, 0);
        IntVec values[8];
        unpack_block(rows[s], b, values);
        IntVec totals[1] = {splat_int(-kProductOffset<Type> * x[0][b].sum)};
        multiply_block<Type>(values, x, b, totals);
        FloatVec minima = {};
        if constexpr (Type::kMinimum) minima = load_halves<Type>(rows[s], b, Type::kMinimumAt);
        sums[s] = add_block<Type>(sums[s], totals[0], load_scales<Type>(rows[s], b), minima, x[0][b]);
      }
    }
    for (int s = 0; s < kStreams && row + s * kLanes < args.rows; ++s) {
      rows[s].store_results(args.out + row + s * kLanes, sums[s]);
    }
  }
}

template <typename Type, class Rows>
void multiply_32_tokens(const MultiplyArgs& args, int64_t first_token, int tokens) {
  constexpr int kTile = kLanes == 16 ? 12 : 4;
  const int64_t blocks = args.columns / 32;
  const std::byte* activations = args.activations + first_token * args.activation_row_bytes;
  const size_t step = args.activation_row_bytes;
  Panel panel;
  FloatVec sums[kPanelTokens];
  for (int64_t row = 0; row < args.rows; row += kLanes) {
    const Rows rows(args, row);
    std::memset(sums, 0, sizeof sums);
    for (int64_t block = 0; block < blocks; block += kPanelBlocks) {
      const int count = static_cast<int>(blocks - block < kPanelBlocks ? blocks - block : kPanelBlocks);
      fill_panel<Type>(rows, block, count, panel);
      const std::byte* x = activations + block * sizeof(ActBlock32);
      int t = 0;
      for (; t + kTile <= tokens; t += kTile) multiply_panel<Type, kTile>(panel, count, x + t * step, step, sums + t);
      for (; t + 4 <= tokens; t += 4) multiply_panel<Type, 4>(panel, count, x + t * step, step, sums + t);
      for (; t + 2 <= tokens; t += 2) multiply_panel<Type, 2>(panel, count, x + t * step, step, sums + t);
      if (t < tokens) multiply_panel<Type, 1>(panel, count, x + t * step, step, sums + t);
    }
    for (int t = 0; t < tokens; ++t) {
      float* out = args.out + (first_token + t) * args.out_stride + row;
      rows.store_results(out, sums[t]);
    }
  }
}

template <typename Type, class Rows>
void multiply_32_many(const MultiplyArgs& args) {
#if defined(__AMX_INT8__)
  if constexpr (!Type::kMinimum) {
    if (args.tokens >= kLeastTiled32Tokens) return multiply_32_tiles<Type, Rows>(args);
  }
#endif
  for (int64_t token = 0; token < args.tokens; token += kPanelTokens) {
    const int64_t left = args.tokens - token;
    multiply_32_tokens<Type, Rows>(args, token, static_cast<int>(left < kPanelTokens ? left : kPanelTokens));
  }
}

template <typename Type>
void multiply_plain_32(const MultiplyArgs& args) {
  if (args.tokens == 1) return multiply_32_token<Type>(args, 0);
  multiply_32_many<Type, RowGroup>(args);
}

template <typename Type>
void multiply_32(const MultiplyArgs& args) {
  if constexpr (kInterleaves32<Type>) {
    if (args.interleaved) {
      return multiply_groups(
          args,
          [](const MultiplyArgs& groups) {
            if (groups.tokens == 1) return multiply_interleaved_32<Type>(groups);
            multiply_32_many<Type, InterleavedRows<Type>>(groups);
          },
          multiply_plain_32<Type>);
    }
  }
  multiply_plain_32<Type>(args);
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

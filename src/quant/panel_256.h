// Products of the types with blocks of 256 values with two or more tokens: the weights of kLanes rows are unpacked once
// into a panel that gives each row a lane, and used for many tokens. For multiply_256.h, whose order of sums it keeps:
// the same exact integers per block, then the same chain over the blocks.
#pragma once

#include "quant/interleaved_256.h"
#include "quant/steps_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Two groups of rows share what is loaded of the activations where there are registers enough.
constexpr int kRowGroups = kLanes == 16 ? 2 : 1;
constexpr int kPanel256Blocks = 4 / kRowGroups;  // about half of the first-level cache
constexpr int kPanel256Tokens = 128;             // tokens that share an unpacked panel

struct Panel256 {
  IntVec values[kPanel256Blocks][64];  // [i]: lane r holds bytes 4i to 4i + 3 of row r
  // [j]: lane r holds the scale of row r's sub-block j twice, 16 bits each; or those of 2j and 2j + 1
  IntVec scales[kPanel256Blocks][16];
  // [k]: lane r holds what the activations' sums of sub-blocks 2k and 2k + 1 are multiplied with, 16 bits each
  IntVec sub_minima[kPanel256Blocks][8];
  IntVec corrections[kPanel256Blocks][8];
  FloatVec scale[kPanel256Blocks];
  FloatVec minimum[kPanel256Blocks];
};

// A block of each of kLanes rows as it stands in files, which is less than unpacked, lane r being of row r.
template <class Parts>
struct BlockDwords {
  static constexpr int kRawChunks = Parts::kRawBytes / 64;
  static constexpr bool kRawTail = Parts::kRawBytes % 64 != 0;  // 32 bytes, transposed along with the scales
  static constexpr int kChunks = kRawChunks + (kRawTail ? 2 : 1);
  IntVec dwords[kChunks][16];

  const IntVec* raw() const { return dwords[0]; }
  // Of sub-blocks a and b, in the low and the high half.
  MOXIE_INLINE IntVec scales(int a, int b) const { return join_sub_blocks<Parts>(pairs(), a, b); }
  MOXIE_INLINE IntVec minima(int a, int b) const { return join_sub_blocks<Parts>(pairs() + 8, a, b); }

 private:
  // Two numbers in a dword, for each 16 values one: scales, then minima.
  const IntVec* pairs() const { return dwords[0] + Parts::kRawBytes / 4; }
};

template <class Parts>
MOXIE_INLINE void transpose_blocks(const RowGroup& rows, int64_t index, BlockDwords<Parts>& to) {
  using Dwords = BlockDwords<Parts>;
  Bytes64 chunks[Dwords::kChunks][kLanes];
  for (int r = 0; r < kLanes; ++r) {
    const typename Parts::Block& block = block_of<Parts>(rows, r, index);
    const std::byte* raw = reinterpret_cast<const std::byte*>(&block) + Parts::kRawAt;
    for (int i = 0; i < Dwords::kRawChunks; ++i) std::memcpy(&chunks[i][r], raw + 64 * i, 64);
    const Parts parts(block);
    const Shorts16 sub_scales = parts.sub_scales();
    Shorts16 sub_minima = {};
    if constexpr (Parts::kMinimum) sub_minima = parts.sub_minima();
    if constexpr (Dwords::kRawTail) {
      chunks[Dwords::kRawChunks][r] = load_32_32(raw + 64 * Dwords::kRawChunks, &sub_scales);
      chunks[Dwords::kRawChunks + 1][r] = load_32_32(&sub_minima, &sub_minima);
    } else {
      chunks[Dwords::kRawChunks][r] = load_32_32(&sub_scales, &sub_minima);
    }
  }
  for (int i = 0; i < Dwords::kChunks; ++i) transpose(chunks[i], to.dwords[i]);
}

template <class Parts>
MOXIE_INLINE BlockDwords<Parts> block_dwords(const RowGroup& rows, int64_t index) {
  BlockDwords<Parts> dwords;
  transpose_blocks<Parts>(rows, index, dwords);
  return dwords;
}

// Asks for a block that is wanted when the panel is filled again, of rows as they stand so many bytes further on.
template <class Parts>
MOXIE_INLINE void fetch_later(const RowGroup& rows, int64_t index, size_t distance) {
  for (int r = 0; r < kLanes; ++r) prefetch_block(&block_of<Parts>(rows, r, index), distance);
}
template <class Parts>
MOXIE_INLINE void fetch_later(const InterleavedRows<Parts>& rows, int64_t index, size_t) {
  fetch_block(rows, index + kPanel256Blocks);
}

template <class Parts, class Rows>
void fill_panel_256(const Rows& rows, int64_t first, int blocks, size_t prefetch_distance, Panel256& panel) {
  constexpr int kSubDwords = Parts::kSubValues / 4;
  for (int b = 0; b < blocks; ++b) {
    const auto dwords = block_dwords<Parts>(rows, first + b);
    fetch_later<Parts>(rows, first + b, prefetch_distance);
#pragma GCC unroll 64
    for (int i = 0; i < 64; ++i) {
      const Bytes bytes = (Bytes)Parts::quants(dwords.raw(), i);
      panel.values[b][i] = (IntVec)(kShifted<Parts> ? bytes ^ 0x80 : bytes);
    }
#pragma GCC unroll 16
    for (int j = 0; j < 64 / kScaleDwords<Parts>; ++j) {
      const int first = j * kScaleDwords<Parts>, last = first + kScaleDwords<Parts> - 1;
      panel.scales[b][j] = dwords.scales(first / kSubDwords, last / kSubDwords);
      if (kWideRuns<Parts>) panel.scales[b][j] = (IntVec)((UintVec)panel.scales[b][j] & kHighHalf);
    }
#pragma GCC unroll 8
    for (int k = 0; k < kSumPairs<Parts>; ++k) {
      const IntVec pair = dwords.scales(2 * k, 2 * k + 1);
      panel.corrections[b][k] = (IntVec)((Shorts)pair * (Shorts{} + kCorrection<Parts>));
      panel.sub_minima[b][k] = dwords.minima(2 * k, 2 * k + 1);
    }
    panel.scale[b] = load_halves<Parts>(rows, first + b, Parts::kScaleAt);
    if constexpr (Parts::kMinimum) panel.minimum[b] = load_halves<Parts>(rows, first + b, Parts::kScaleAt + 2);
  }
}

// kTokens tokens times the panels of kRowGroups groups: adds to sums[0 .. kTokens - 1] of each.
template <class Parts, int kTokens>
void multiply_panel_256(const Panel256 (&panels)[kRowGroups], int blocks, const std::byte* activations,
                        size_t activation_row_bytes, FloatVec (*sums)[kRowGroups]) {
  constexpr int kRun = run_dwords<Parts>(), kRuns = kRunsInStep<Parts>, kStep = kStepDwords<Parts>;
  const ActBlock256* x[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = reinterpret_cast<const ActBlock256*>(activations + t * activation_row_bytes);
  }
  for (int b = 0; b < blocks; ++b) {
    IntVec totals[kTokens][kRowGroups] = {};
    int32_t starts[kTokens][32];
    for (int t = 0; t < kTokens; ++t) {
      if constexpr (Parts::kMinimum || kCorrection<Parts> != 0) {
        const int16_t* sub_sums = Parts::kSubValues == 16 ? x[t][b].sums : x[t][b].sums_of_32;
        IntVec minima[kRowGroups] = {};
#pragma GCC unroll 8
        for (int k = 0; k < kSumPairs<Parts>; ++k) {
          const IntVec two_sums = splat_int(static_cast<int32_t>(load_u32(sub_sums + 2 * k)));
          for (int g = 0; g < kRowGroups; ++g) {
            if (Parts::kMinimum) minima[g] = add_pairs(minima[g], panels[g].sub_minima[b][k], two_sums);
            if (kCorrection<Parts> != 0) {
              totals[t][g] = add_pairs(totals[t][g], panels[g].corrections[b][k], two_sums);
            }
          }
        }
        for (int g = 0; g < kRowGroups && Parts::kMinimum; ++g) {
          sums[t][g] = fma(-to_float(minima[g]), panels[g].minimum[b] * x[t][b].scale, sums[t][g]);
        }
      }
      if constexpr (centre<Parts>() != 0) find_starts<Parts>(x[t][b], starts[t]);
    }
    for (int j = 0; j < 64 / kStep; ++j) {
      IntVec runs[kTokens][kRowGroups][kRuns];
#pragma GCC unroll 2
      for (int k = 0; k < kRuns; ++k) {
        const int first = j * kStep + k * kRun;
        for (int t = 0; t < kTokens; ++t) {
          IntVec start = {};
          if constexpr (centre<Parts>() != 0) start = splat_int(starts[t][start_of<Parts>(first / kRun)]);
          for (int g = 0; g < kRowGroups; ++g) runs[t][g][k] = start;
        }
#pragma GCC unroll 8
        for (int i = first; i < first + kRun; ++i) {
          for (int t = 0; t < kTokens; ++t) {
            const IntVec four = splat_int(static_cast<int32_t>(load_u32(x[t][b].values + 4 * i)));
            for (int g = 0; g < kRowGroups; ++g) {
              runs[t][g][k] = add_dword<Parts>(runs[t][g][k], panels[g].values[b][i], four);
            }
          }
        }
      }
      // The same block of the tokens that are next, which lie far apart.
      constexpr int kLines = (static_cast<int>(sizeof(ActBlock256)) + 63) / 64,
                    kLinesInStep = (kLines * kStep + 63) / 64;
      for (int t = 0; t < kTokens; ++t) {
        const uintptr_t next = reinterpret_cast<uintptr_t>(x[t] + b) + kTokens * activation_row_bytes;
        for (int line = j * kLinesInStep; line < (j + 1) * kLinesInStep; ++line) {
          __builtin_prefetch(reinterpret_cast<const void*>(next + 64 * static_cast<uintptr_t>(line)));
        }
      }
      const int factor = factor_of_step<Parts>(j);
      for (int t = 0; t < kTokens; ++t) {
        const IntVec factors = splat_int(static_cast<int32_t>(load_u32(x[t][b].factors + factor)));
        for (int g = 0; g < kRowGroups; ++g) {
          totals[t][g] =
              add_step<Parts>(totals[t][g], runs[t][g], panels[g].scales[b][j * kStep / kScaleDwords<Parts>], factors);
        }
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      for (int g = 0; g < kRowGroups; ++g) {
        sums[t][g] = fma(to_float(totals[t][g]), panels[g].scale[b] * x[t][b].scale, sums[t][g]);
      }
    }
  }
}

// Tokens [first_token, first_token + tokens), at most kPanel256Tokens, with every row.
template <class Parts, class Rows>
void multiply_256_tokens(const MultiplyArgs& args, int64_t first_token, int tokens) {
  const int64_t blocks = args.columns / 256;
  const std::byte* activations = args.activations + first_token * args.activation_row_bytes;
  const size_t step = args.activation_row_bytes;
  Panel256 panels[kRowGroups];
  FloatVec sums[kPanel256Tokens][kRowGroups];
  for (int64_t row = 0; row < args.rows; row += kRowGroups * kLanes) {
    std::memset(sums, 0, sizeof sums);
    for (int64_t block = 0; block < blocks; block += kPanel256Blocks) {
      const int count = static_cast<int>(blocks - block < kPanel256Blocks ? blocks - block : kPanel256Blocks);
      // The next blocks of these rows, or the first ones of the next rows, while these are worked on.
      const int64_t ahead = block + count < blocks ? count : -block;
      const size_t distance = static_cast<size_t>(ahead) * sizeof(typename Parts::Block) +
                              (ahead > 0 ? 0 : kRowGroups * kLanes * args.row_bytes);
      for (int g = 0; g < kRowGroups; ++g) {
        fill_panel_256<Parts>(Rows(args, row + g * kLanes), block, count, distance, panels[g]);
      }
      const std::byte* x = activations + block * sizeof(ActBlock256);
      int t = 0;
      for (; t + 4 <= tokens; t += 4) multiply_panel_256<Parts, 4>(panels, count, x + t * step, step, sums + t);
      for (; t + 2 <= tokens; t += 2) multiply_panel_256<Parts, 2>(panels, count, x + t * step, step, sums + t);
      if (t < tokens) multiply_panel_256<Parts, 1>(panels, count, x + t * step, step, sums + t);
    }
    for (int t = 0; t < tokens; ++t) {
      for (int g = 0; g < kRowGroups && row + g * kLanes < args.rows; ++g) {
        const int64_t left = args.rows - row - g * kLanes;
        float* out = args.out + (first_token + t) * args.out_stride + row + g * kLanes;
        if (left >= kLanes) {
          store(out, sums[t][g]);
        } else {
          store_part(out, sums[t][g], left);
        }
      }
    }
  }
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

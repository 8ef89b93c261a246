// Products of the types with blocks of 256 values with several tokens: the weights of kLanes rows are unpacked once
// into a panel that gives each row a lane, and used for many tokens. For multiply_256.h, whose order of sums it keeps:
// the same exact integers per block, then the same chain over the blocks.
#pragma once

#include <concepts>
#include <type_traits>

#include "quant/interleaved_256.h"
#include "quant/parts.h"
#include "quant/steps_256.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Two groups of rows share what is loaded of the activations where there are registers enough.
constexpr int kRowGroups = kLanes == 16 ? 2 : 1;
constexpr int kPanel256Blocks = kLanes == 16 ? 1 : 4;      // a half of the first-level cache or less
constexpr int kPanel256Tile = 4;                           // tokens whose sums stay in registers
constexpr int kPanel256Tokens = kLanes == 16 ? 192 : 128;  // tokens that share an unpacked panel
constexpr int kPanel256Rows = kLanes == 16 ? 512 : 256;    // rows that share copied activations
static_assert(kPanel256Tokens % kPanel256Tile == 0 && kPanel256Rows % (kRowGroups * kLanes) == 0);

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

// What is wanted later of some rows.
template <class Rows, int kCache = 2>
using AheadOf = std::conditional_t<std::same_as<Rows, RowGroup>, LinesOfRowsAhead<kCache>, LinesAhead<kCache>>;
template <class Parts, int kCache>
void add_blocks_ahead(const RowGroup& rows, int64_t first, int64_t count, LinesOfRowsAhead<kCache>& ahead) {
  constexpr size_t kBytes = sizeof(typename Parts::Block);
  ahead.add(rows, static_cast<size_t>(first) * kBytes, static_cast<size_t>(count) * kBytes);
}

template <class Parts, class Rows>
void fill_panel_256(const Rows& rows, int64_t first, int blocks, Panel256& panel) {
  constexpr int kSubDwords = Parts::kSubValues / 4;
  for (int b = 0; b < blocks; ++b) {
    const auto dwords = block_dwords<Parts>(rows, first + b);
#pragma GCC unroll 64
    for (int i = 0; i < 64; ++i) {
      const Bytes bytes = (Bytes)Parts::quants(dwords.raw(), i);
      panel.values[b][i] = (IntVec)(kShifted<Parts> ? bytes ^ 0x80 : bytes);
    }
#pragma GCC unroll 16
    for (int j = 0; j < 64 / kScaleDwords<Parts>; ++j) {
      const int begin = j * kScaleDwords<Parts>, end = begin + kScaleDwords<Parts>;
      panel.scales[b][j] = dwords.scales(begin / kSubDwords, (end - 1) / kSubDwords);
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

// One block of one token.
struct alignas(64) PanelActs256 {
  int8_t values[256];
  int32_t starts[kHaveVnni ? 32 : 16];  // of runs, where they do not start at zero
  int16_t factors[16];
  int16_t sums[16];  // of sub-blocks
  float scale;
};
using PanelActs256Tile = PanelActs256[kPanel256Blocks][kPanel256Tile];

template <class Parts>
MOXIE_INLINE void copy_acts_256(const std::byte* from, size_t row_bytes, int tokens, int blocks, PanelActs256Tile& to) {
  for (int t = 0; t < tokens; ++t) {
    const ActBlock256* x = reinterpret_cast<const ActBlock256*>(from + static_cast<size_t>(t) * row_bytes);
    for (int b = 0; b < blocks; ++b) {
      PanelActs256& acts = to[b][t];
      std::memcpy(acts.values, x[b].values, sizeof acts.values);
      if constexpr (centre<Parts>() != 0) find_starts<Parts>(x[b], acts.starts);
      std::memcpy(acts.factors, x[b].factors, sizeof acts.factors);
      if constexpr (Parts::kSubValues == 16) {
        std::memcpy(acts.sums, x[b].sums, sizeof x[b].sums);
      } else {
        std::memcpy(acts.sums, x[b].sums_of_32, sizeof x[b].sums_of_32);
      }
      acts.scale = x[b].scale;
    }
  }
}

// kTokens tokens of a tile times the panels of kRowGroups groups: adds to sums[g][0] and on.
template <class Parts, int kTokens>
void multiply_panels_256(const Panel256 (&panels)[kRowGroups], int blocks, const PanelActs256Tile& acts,
                         FloatVec* const (&sums)[kRowGroups]) {
  constexpr int kRun = run_dwords<Parts>(), kRuns = kRunsInStep<Parts>, kStep = kStepDwords<Parts>,
                kUnit = kScaleDwords<Parts>, kSteps = kUnit / kStep;
  for (int b = 0; b < blocks; ++b) {
    const PanelActs256* const x = acts[b];
    IntVec totals[kTokens][kRowGroups] = {};
    if constexpr (Parts::kMinimum || kCorrection<Parts> != 0) {
      IntVec minima[kTokens][kRowGroups] = {};
#pragma GCC unroll 8
      for (int k = 0; k < kSumPairs<Parts>; ++k) {
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const IntVec two_sums = splat_int(static_cast<int32_t>(load_u32(x[t].sums + 2 * k)));
          for (int g = 0; g < kRowGroups; ++g) {
            if constexpr (Parts::kMinimum) minima[t][g] = add_pairs(minima[t][g], panels[g].sub_minima[b][k], two_sums);
            if constexpr (kCorrection<Parts> != 0) {
              totals[t][g] = add_pairs(totals[t][g], panels[g].corrections[b][k], two_sums);
            }
          }
        }
      }
      if constexpr (Parts::kMinimum) {
        for (int t = 0; t < kTokens; ++t) {
          for (int g = 0; g < kRowGroups; ++g) {
            FloatVec& sum = sums[g][t];
            sum = fma(-to_float(minima[t][g]), panels[g].minimum[b] * x[t].scale, sum);
          }
        }
      }
    }
    for (int unit = 0; unit < 64 / kUnit; ++unit) {  // of steps that share scales
      // Worth registers where many steps share them.
      constexpr bool kShared = kSteps >= 4;
      auto scales_of = [&](int t, int g) {
        const int16_t* factors = x[t].factors + factor_of_step<Parts>(unit * kSteps);
        return step_scales<Parts>(panels[g].scales[b][unit], splat_int(static_cast<int32_t>(load_u32(factors))));
      };
      IntVec scales[kTokens][kRowGroups];
      for (int t = 0; t < kTokens && kShared; ++t) {
        for (int g = 0; g < kRowGroups; ++g) scales[t][g] = scales_of(t, g);
      }
#pragma GCC unroll 8
      for (int step = 0; step < kSteps; ++step) {
        const int j = unit * kSteps + step;
        IntVec runs[kTokens][kRowGroups][kRuns];
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
          for (int k = 0; k < kRuns; ++k) {
            IntVec start = {};
            if constexpr (centre<Parts>() != 0) start = splat_int(x[t].starts[start_of<Parts>(j * kRuns + k)]);
            for (int g = 0; g < kRowGroups; ++g) runs[t][g][k] = start;
          }
        }
#pragma GCC unroll 8
        for (int i = 0; i < kRun; ++i) {
#pragma GCC unroll 2
          for (int k = 0; k < kRuns; ++k) {
            const int dword = j * kStep + k * kRun + i;
#pragma GCC unroll 8
            for (int t = 0; t < kTokens; ++t) {
              const IntVec four = splat_int(static_cast<int32_t>(load_u32(x[t].values + 4 * dword)));
              for (int g = 0; g < kRowGroups; ++g) {
                runs[t][g][k] = add_dword<Parts>(runs[t][g][k], panels[g].values[b][dword], four);
              }
            }
          }
        }
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          for (int g = 0; g < kRowGroups; ++g) {
            totals[t][g] = add_step<Parts>(totals[t][g], runs[t][g], kShared ? scales[t][g] : scales_of(t, g));
          }
        }
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      for (int g = 0; g < kRowGroups; ++g) {
        FloatVec& sum = sums[g][t];
        sum = fma(to_float(totals[t][g]), panels[g].scale[b] * x[t].scale, sum);
      }
    }
  }
}

template <class Parts>
MOXIE_INLINE void multiply_panel_256_tile(const Panel256 (&panels)[kRowGroups], int blocks, const PanelActs256Tile& x,
                                          int tokens, FloatVec* const (&sums)[kRowGroups]) {
  with_count<kPanel256Tile>(tokens,
                            [&]<int kTokens>() { multiply_panels_256<Parts, kTokens>(panels, blocks, x, sums); });
}

// Tokens [first_token, first_token + tokens) with rows [first_row, first_row + rows).
template <class Parts, class Rows>
void multiply_panel_256_part(const MultiplyArgs& args, int64_t first_token, int tokens, int64_t first_row, int rows) {
  const int tiles = (tokens + kPanel256Tile - 1) / kPanel256Tile, groups = (rows + kLanes - 1) / kLanes;
  const size_t x_bytes = args.activation_row_bytes;
  const std::byte* activations = args.activations + static_cast<size_t>(first_token) * x_bytes;
  const int64_t all_blocks = args.columns / 256;
  PanelActs256Tile x[kPanel256Tokens / kPanel256Tile];
  Panel256 panels[kRowGroups];
  FloatVec sums[kPanel256Rows / kLanes][kPanel256Tokens];
  for (int g = 0; g < kPanel256Rows / kLanes && g < groups + kRowGroups - 1; ++g) {
    std::memset(sums[g], 0, sizeof(FloatVec) * static_cast<size_t>(tokens));
  }
  for (int64_t block = 0; block < all_blocks; block += kPanel256Blocks) {
    const int blocks = static_cast<int>(all_blocks - block < kPanel256Blocks ? all_blocks - block : kPanel256Blocks);
    for (int tile = 0; tile < tiles; ++tile) {
      const int first = tile * kPanel256Tile, left = tokens - first;
      const std::byte* from =
          activations + static_cast<size_t>(first) * x_bytes + static_cast<size_t>(block) * sizeof(ActBlock256);
      copy_acts_256<Parts>(from, x_bytes, left < kPanel256Tile ? left : kPanel256Tile, blocks, x[tile]);
    }
    const int64_t next = block + blocks, next_end = next + blocks < all_blocks ? next + blocks : all_blocks;
    for (int g = 0; g < groups; g += kRowGroups) {
      FloatVec* to[kRowGroups];
      AheadOf<Rows> ahead;    // the next blocks of these rows
      AheadOf<Rows, 3> soon;  // these blocks of the rows that come next
      for (int i = 0; i < kRowGroups; ++i) {
        // Beyond the last group that one stands in, and is not stored.
        const int group = g + i < groups ? g + i : groups - 1;
        const Rows source(args, first_row + group * kLanes);
        fill_panel_256<Parts>(source, block, blocks, panels[i]);
        if (next < all_blocks) add_blocks_ahead<Parts>(source, next, next_end - next, ahead);
        if (g + kRowGroups + i < groups) {
          const Rows beside(args, first_row + (g + kRowGroups + i) * kLanes);
          add_blocks_ahead<Parts>(beside, block, blocks, soon);
        }
        to[i] = sums[g + i];
      }
      ahead.begin(tiles);
      soon.begin(tiles);
      for (int tile = 0; tile < tiles; ++tile) {
        ahead.step();
        soon.step();
        multiply_panel_256_tile<Parts>(panels, blocks, x[tile], tokens - tile * kPanel256Tile, to);
        for (FloatVec*& of : to) of += kPanel256Tile;
      }
    }
  }
  store_sums(args, first_token, tokens, first_row, rows, sums);
}

template <class Parts, class Rows>
void multiply_256_panels(const MultiplyArgs& args) {
  for_parts<kPanel256Tile>(args, kPanel256Tokens, kPanel256Rows, [&](int64_t token, int tokens, int64_t row, int rows) {
    multiply_panel_256_part<Parts, Rows>(args, token, tokens, row, rows);
  });
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

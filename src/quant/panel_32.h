// Products of blocks of 32 small integers with several tokens: the weights of kLanes rows are unpacked once into a
// panel that gives each row a lane, and used for many tokens, whose blocks are copied side by side. For multiply_32.h,
// which says what a type gives and tells the order of sums, and its like.
#pragma once

#include <type_traits>

#include "quant/activations.h"
#include "quant/blocks_32.h"
#include "quant/parts.h"
#include "quant/rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

// One step of the chain: a block of every row, whose exact sums are `totals`.
template <typename Type>
MOXIE_INLINE FloatVec add_block(FloatVec sums, IntVec totals, FloatVec scales, FloatVec minima, float x_scale,
                                float x_sum) {
  sums = fma(to_float(totals), scales * x_scale, sums);
  if constexpr (Type::kMinimum) sums = fma(splat(x_sum), minima * x_scale, sums);
  return sums;
}
template <typename Type>
MOXIE_INLINE FloatVec add_block(FloatVec sums, IntVec totals, FloatVec scales, FloatVec minima, const ActBlock32& x) {
  return add_block<Type>(sums, totals, scales, minima, x.scale, static_cast<float>(x.sum));
}

MOXIE_INLINE IntVec splat_4_bytes(const int8_t* from) {
  int32_t four;
  std::memcpy(&four, from, sizeof four);
  return splat_int(four);
}

// How many sums of two products of bytes fit 16 bits.
template <typename Type>
constexpr int kPairSums = 32767 / (2 * 127 * Type::kLargest);

// totals[t][g] += the exact sum over one block of each row of group g, for kTokens tokens.
template <typename Type, int kTokens, int kGroups>
MOXIE_INLINE void multiply_block(const IntVec* const (&values)[kGroups], const int8_t (*x)[32],
                                 IntVec (&totals)[kTokens][kGroups]) {
  static_assert(kPairSums<Type> >= 1);
#if MOXIE_VNNI
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const IntVec four = splat_4_bytes(x[t] + 4 * i);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        totals[t][g] = add_byte_products(totals[t][g], values[g][i], four);
      }
    }
  }
#elif defined(__SSSE3__)
  // As many pair sums as fit are added up in 16 bits before they are widened.
  constexpr int kFit = kPairSums<Type>, kRun = kFit >= 8 ? 8 : kFit >= 4 ? 4 : kFit >= 2 ? 2 : 1;
#pragma GCC unroll 8
  for (int first = 0; first < 8; first += kRun) {
    ShortVec pairs[kTokens][kGroups];
#pragma GCC unroll 8
    for (int i = first; i < first + kRun; ++i) {
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) {
        const ByteVec four = (ByteVec)splat_4_bytes(x[t] + 4 * i);
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          const ShortVec products = multiply_pairs<Type::kSigned>((ByteVec)values[g][i], four);
          pairs[t][g] = i == first ? products : pairs[t][g] + products;
          keep_here(pairs[t][g]);
        }
      }
    }
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) totals[t][g] += add_neighbours(pairs[t][g]);
    }
  }
#else
  for (int i = 0; i < 8; ++i) {
    for (int t = 0; t < kTokens; ++t) {
      for (int g = 0; g < kGroups; ++g) {
        totals[t][g] += multiply_bytes<Type::kSigned>((ByteVec)values[g][i], (ByteVec)splat_4_bytes(x[t] + 4 * i));
      }
    }
  }
#endif
}

// The same with words, x[t] being in the order of a WordPanel.
template <int kTokens, int kGroups>
MOXIE_INLINE void multiply_block(const IntVec* const (&values)[kGroups], const int16_t (*x)[32],
                                 IntVec (&totals)[kTokens][kGroups]) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const IntVec two = splat_int(static_cast<int32_t>(load_u32(x[t] + i % 2 * 16 + i / 2 * 2)));
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) totals[t][g] = add_pairs(totals[t][g], values[g][i], two);
    }
  }
}

constexpr int kPanelBlocks = kLanes == 16 ? 8 : 16;     // blocks of a row that a panel holds
constexpr int kPanelGroups = 2;                         // panels that share what is loaded of the activations
constexpr int kPanelTile = kLanes == 16 ? 6 : 4;        // tokens whose sums stay in registers
constexpr int kPanelTokens = kLanes == 16 ? 192 : 128;  // tokens that share an unpacked panel
constexpr int kPanelRows = kLanes == 16 ? 512 : 256;    // rows that share copied activations
static_assert(kPanelTokens % kPanelTile == 0 && kPanelRows % (kPanelGroups * kLanes) == 0);

struct Panel {
  IntVec values[kPanelBlocks][8];  // values[b][i]: lane r holds bytes 4i to 4i + 3 of row r's block b
  FloatVec scales[kPanelBlocks];
  FloatVec minima[kPanelBlocks];
};

// Whether weights and activations are multiplied as numbers of 16 bits: of bytes no two sums of pairs would fit 16
// bits, and signs would have to be moved from weights to activations.
#if !MOXIE_VNNI && defined(__SSSE3__)
template <typename Type>
constexpr bool kPanelWords = Type::kSigned&& kPairSums<Type> < 2;
#else
template <typename Type>
constexpr bool kPanelWords = false;
#endif

// The values of a panel as words: [2i] the even bytes of the panel's [i], [2i + 1] the odd ones.
struct WordPanel {
  IntVec values[kPanelBlocks][16];
};

// Some blocks of kPanelTile tokens.
template <typename Type>
struct PanelActs {
  // Words in the order of a WordPanel: those of even columns, then those of odd ones.
  std::conditional_t<kPanelWords<Type>, int16_t, int8_t> values[kPanelBlocks][kPanelTile][32];
  int32_t starts[kPanelBlocks][kPanelTile];  // makes good what the weights' bytes are too large by
  float scales[kPanelBlocks][kPanelTile];
  float sums[kPanelBlocks][kPanelTile];
};

MOXIE_INLINE void copy_words(const int8_t (&from)[32], int16_t* to) {
  for (int i = 0; i < 16; ++i) {
    to[i] = from[2 * i];
    to[16 + i] = from[2 * i + 1];
  }
}

template <typename Type>
MOXIE_INLINE void copy_acts(const std::byte* from, size_t row_bytes, int tokens, int blocks, PanelActs<Type>& to) {
  for (int t = 0; t < tokens; ++t) {
    const ActBlock32* x = reinterpret_cast<const ActBlock32*>(from + static_cast<size_t>(t) * row_bytes);
    for (int b = 0; b < blocks; ++b) {
      if constexpr (kPanelWords<Type>) {
        copy_words(x[b].values, to.values[b][t]);
      } else {
        std::memcpy(to.values[b][t], x[b].values, sizeof x[b].values);
      }
      to.starts[b][t] = -kProductOffset<Type> * x[b].sum;
      to.scales[b][t] = x[b].scale;
      if constexpr (Type::kMinimum) to.sums[b][t] = static_cast<float>(x[b].sum);
    }
  }
}

template <typename Type>
struct Panels {
  Panel panels[kPanelGroups];
  WordPanel words[kPanelWords<Type> ? kPanelGroups : 1];

  const IntVec* values(int g, int b) const { return kPanelWords<Type> ? words[g].values[b] : panels[g].values[b]; }
  // Once panel g is filled.
  void widen(int g, int blocks) {
    if constexpr (kPanelWords<Type>) {
      for (int b = 0; b < blocks; ++b) {
        for (int i = 0; i < 8; ++i) {
          const Shorts bytes = (Shorts)panels[g].values[b][i];
          words[g].values[b][2 * i] = (IntVec)((bytes << 8) >> 8);
          words[g].values[b][2 * i + 1] = (IntVec)(bytes >> 8);
        }
      }
    }
  }
};

// kTokens tokens of a tile times panels: adds to sums[g][0] and on.
template <typename Type, int kTokens>
void multiply_panels_32(const Panels<Type>& all, int blocks, const PanelActs<Type>& x,
                        FloatVec* const (&sums)[kPanelGroups]) {
  const Panel(&panels)[kPanelGroups] = all.panels;
  FloatVec floats[kTokens][kPanelGroups];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    for (int g = 0; g < kPanelGroups; ++g) floats[t][g] = sums[g][t];
  }
  for (int b = 0; b < blocks; ++b) {
    const IntVec* const values[kPanelGroups] = {all.values(0, b), all.values(1, b)};
    IntVec totals[kTokens][kPanelGroups];
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      for (int g = 0; g < kPanelGroups; ++g) totals[t][g] = splat_int(x.starts[b][t]);
    }
    if constexpr (kPanelWords<Type>) {
      multiply_block(values, x.values[b], totals);
    } else {
      multiply_block<Type>(values, x.values[b], totals);
    }
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      for (int g = 0; g < kPanelGroups; ++g) {
        floats[t][g] = add_block<Type>(floats[t][g], totals[t][g], panels[g].scales[b], panels[g].minima[b],
                                       x.scales[b][t], x.sums[b][t]);
      }
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    for (int g = 0; g < kPanelGroups; ++g) sums[g][t] = floats[t][g];
  }
}

template <typename Type>
MOXIE_INLINE void multiply_panel_32_tile(const Panels<Type>& panels, int blocks, const PanelActs<Type>& x, int tokens,
                                         FloatVec* const (&sums)[kPanelGroups]) {
  with_count<kPanelTile>(tokens, [&]<int kTokens>() { multiply_panels_32<Type, kTokens>(panels, blocks, x, sums); });
}

// Tokens [first_token, first_token + tokens) with rows [first_row, first_row + rows). A Source is made of (args, row)
// and stands for the kLanes rows from there on:
//   fill(block, blocks, panel)      lanes beyond the last row may hold anything finite
//   fetch_ahead(block, blocks, ahead) asks for blocks that are filled from later, if it can
template <typename Type, class Source>
void multiply_panel_32_part(const MultiplyArgs& args, int64_t first_token, int tokens, int64_t first_row, int rows) {
  const int tiles = (tokens + kPanelTile - 1) / kPanelTile, groups = (rows + kLanes - 1) / kLanes;
  const size_t x_bytes = args.activation_row_bytes;
  const std::byte* activations = args.activations + static_cast<size_t>(first_token) * x_bytes;
  const int64_t all_blocks = args.columns / 32;
  PanelActs<Type> x[kPanelTokens / kPanelTile];
  Panels<Type> panels;
  FloatVec sums[kPanelRows / kLanes][kPanelTokens];
  for (int g = 0; g < kPanelRows / kLanes && g < groups + kPanelGroups - 1; ++g) {
    std::memset(sums[g], 0, sizeof(FloatVec) * static_cast<size_t>(tokens));
  }
  for (int64_t block = 0; block < all_blocks; block += kPanelBlocks) {
    const int blocks = static_cast<int>(all_blocks - block < kPanelBlocks ? all_blocks - block : kPanelBlocks);
    for (int tile = 0; tile < tiles; ++tile) {
      const int first = tile * kPanelTile, left = tokens - first;
      copy_acts<Type>(
          activations + static_cast<size_t>(first) * x_bytes + static_cast<size_t>(block) * sizeof(ActBlock32), x_bytes,
          left < kPanelTile ? left : kPanelTile, blocks, x[tile]);
    }
    const int64_t next = block + blocks, next_end = next + blocks < all_blocks ? next + blocks : all_blocks;
    for (int g = 0; g < groups; g += kPanelGroups) {
      FloatVec* to[kPanelGroups];
      LinesAhead<2> ahead;  // the next blocks of these rows
      LinesAhead<3> soon;   // these blocks of the rows that come next
      for (int i = 0; i < kPanelGroups; ++i) {
        // Beyond the last group that one stands in, and is not stored.
        const int group = g + i < groups ? g + i : groups - 1;
        Source source(args, first_row + group * kLanes);
        source.fill(block, blocks, panels.panels[i]);
        panels.widen(i, blocks);
        source.fetch_ahead(next, next_end - next, ahead);
        if (g + kPanelGroups + i < groups) {
          const Source beside(args, first_row + (g + kPanelGroups + i) * kLanes);
          beside.fetch_ahead(block, blocks, soon);
        }
        to[i] = sums[g + i];
      }
      ahead.begin(tiles);
      soon.begin(tiles);
      for (int tile = 0; tile < tiles; ++tile) {
        ahead.step();
        soon.step();
        multiply_panel_32_tile<Type>(panels, blocks, x[tile], tokens - tile * kPanelTile, to);
        for (FloatVec*& of : to) of += kPanelTile;
      }
    }
  }
  store_sums(args, first_token, tokens, first_row, rows, sums);
}

template <typename Type, class Source>
void multiply_32_panels(const MultiplyArgs& args) {
  for_parts<kPanelTile>(args, kPanelTokens, kPanelRows, [&](int64_t token, int tokens, int64_t row, int rows) {
    multiply_panel_32_part<Type, Source>(args, token, tokens, row, rows);
  });
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

// Products with many tokens, part by part: so many tokens and rows that what they share stays in the caches. For
// *.simd.cpp files only; internal to the including file. Pure functions.
#pragma once

#include "core/simd.h"
#include "quant/quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Calls body(token, tokens, row, rows) for parts of a product of at most so many of each. Tokens in parts as even as
// whole tiles of kTile tokens are.
template <int kTile, typename Body>
MOXIE_INLINE void for_parts(const MultiplyArgs& args, int64_t most_tokens, int64_t most_rows, const Body& body) {
  if (args.tokens == 0) return;
  const int64_t parts = (args.tokens + most_tokens - 1) / most_tokens;
  const int64_t part_tokens = ((args.tokens + parts - 1) / parts + kTile - 1) / kTile * kTile;
  for (int64_t token = 0; token < args.tokens; token += part_tokens) {
    const int64_t tokens = args.tokens - token < part_tokens ? args.tokens - token : part_tokens;
    for (int64_t row = 0; row < args.rows; row += most_rows) {
      const int64_t rows = args.rows - row < most_rows ? args.rows - row : most_rows;
      body(token, static_cast<int>(tokens), row, static_cast<int>(rows));
    }
  }
}

// Calls body<count>() for a count up to kMost, body<kMost>() for more: a loop of its own for each size of a last tile.
template <int kMost, typename Body>
MOXIE_INLINE void with_count(int count, const Body& body) {
  if constexpr (kMost > 1) {
    if (count < kMost) return with_count<kMost - 1>(count, body);
  }
  body.template operator()<kMost>();
}

// Writes a part of a product: sums[g][t] holds rows [g * kLanes, g * kLanes + kLanes) of token t.
template <int kTokens>
MOXIE_INLINE void store_sums(const MultiplyArgs& args, int64_t first_token, int tokens, int64_t first_row, int rows,
                             const FloatVec (*sums)[kTokens]) {
  for (int t = 0; t < tokens; ++t) {
    float* out = args.out + (first_token + t) * args.out_stride + first_row;
    for (int row = 0; row < rows; row += kLanes) {
      const FloatVec value = sums[row / kLanes][t];
      if (rows - row >= kLanes) {
        store(out + row, value);
      } else {
        store_part(out + row, value, rows - row);
      }
    }
  }
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

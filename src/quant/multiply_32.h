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
// sum = fma(x.sum, minimum * x.scale, sum): one chain over the blocks for each (row, token), the same in both paths.
// Both give one vector lane to each row, so no lane is ever added to another.
#pragma once

#include <concepts>

#include "quant/make_quant_type.h"
#include "quant/panel_32.h"
#include "quant/tiled_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

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

// ---- several tokens ----

template <typename Type>
void unpack_blocks(const RowGroup& rows, int64_t first, int blocks, Panel& panel) {
  for (int b = 0; b < blocks; b += 2) {
    const int next = b + 1 < blocks ? b + 1 : b;
    Bytes64 unpacked[kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) {
      prefetch_block(&block_of<Type>(rows, r, first + b), kPanelBlocks * sizeof(typename Type::Block), 2);
      unpacked[r] = unpack_for_product<Type>(block_of<Type>(rows, r, first + b), block_of<Type>(rows, r, first + next));
    }
    transpose(unpacked, panel.values[b]);
  }
}
template <typename Type>
void unpack_blocks(const InterleavedRows<Type>& rows, int64_t first, int blocks, Panel& panel) {
  for (int b = 0; b < blocks; ++b) unpack_block(rows, first + b, panel.values[b]);
}

template <typename Type, class Rows>
class PanelSource {
 public:
  PanelSource(const MultiplyArgs& args, int64_t row) : rows_(args, row) {}
  void fill(int64_t first, int blocks, Panel& panel) const {
    unpack_blocks<Type>(rows_, first, blocks, panel);
    for (int b = 0; b < blocks; ++b) {
      panel.scales[b] = load_scales<Type>(rows_, first + b);
      if constexpr (Type::kMinimum) panel.minima[b] = load_halves<Type>(rows_, first + b, Type::kMinimumAt);
    }
  }
  template <int kCache>
  void fetch_ahead(int64_t first, int64_t count, LinesAhead<kCache>& ahead) const {
    // Rows that lie apart were asked for when they were unpacked.
    if constexpr (!std::same_as<Rows, RowGroup>) add_blocks_ahead(rows_, first, count, ahead);
  }

 private:
  Rows rows_;
};

// One token times interleaved rows: as multiply_32_token, with the sums of multiply_panels_32.
template <typename Type>
void multiply_interleaved_32(const MultiplyArgs& args) {
  const int64_t blocks = args.columns / 32;
  const ActBlock32* x = reinterpret_cast<const ActBlock32*>(args.activations);
  for_streams<true>(args, [&](auto... first) {
    constexpr int kVectors = sizeof...(first);
    const int64_t firsts[] = {first...};
    const InterleavedRows<Type> rows[] = {{args, first}...};
    FloatVec sums[kVectors] = {};
    for (int64_t b = 0; b < blocks; ++b) {
      prefetch_streams<1>(rows, b, 0);
      for (int s = 0; s < kVectors; ++s) {
        IntVec values[8];
        unpack_block(rows[s], b, values);
        IntVec totals[1][1] = {{splat_int(-kProductOffset<Type> * x[b].sum)}};
        multiply_block<Type>({values}, &x[b].values, totals);
        FloatVec minima = {};
        if constexpr (Type::kMinimum) minima = load_halves<Type>(rows[s], b, Type::kMinimumAt);
        sums[s] = add_block<Type>(sums[s], totals[0][0], load_scales<Type>(rows[s], b), minima, x[b]);
      }
    }
    for (int s = 0; s < kVectors && firsts[s] < args.rows; ++s) {
      rows[s].store_results(args.out + firsts[s], sums[s]);
    }
  });
}

template <typename Type, class Rows>
void multiply_32_many(const MultiplyArgs& args) {
#if defined(__AMX_INT8__)
  if constexpr (!Type::kMinimum) {
    if (args.tokens >= kLeastTiled32Tokens) return multiply_32_tiles<Type, Rows>(args);
  }
#endif
  multiply_32_panels<Type, PanelSource<Type, Rows>>(args);
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

// Products of matrices whose packed integers lie column after column (inputs outermost), as GPTQ and AWQ store them,
// with activations in ActBlock32; for the *.simd.cpp files under parted/ only.
//
// A type gives what multiply_32.h asks for, but for blocks and scales; in their place a class Source, which stands for
// kLanes rows, with
//   void begin(const PartedWeights&, int64_t row, int count)    these rows from now on
//   void values(int64_t block, IntVec (&to)[8])                 lane r of to[i]: bytes 4 i to 4 i + 3 of row r's block
//   void load(int64_t group, FloatVec& scale, FloatVec& minimum)
// Lanes from `count` on may hold anything finite. Order of sums: that of multiply_32.h.
#pragma once

#include "quant/parted_rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Rows go together so that what lies side by side in a column is read together.
constexpr int kSourcesTogether = 256 / kLanes;

template <typename Source>
struct PartedSources {
  int start(const MultiplyArgs& args, int64_t row) {
    int sources = 0;
    for (; sources < kSourcesTogether && row < args.rows; ++sources, row += kLanes) {
      counts[sources] = static_cast<int>(args.rows - row < kLanes ? args.rows - row : kLanes);
      source[sources].begin(*args.parted, args.first_row + row, counts[sources]);
    }
    return sources;
  }
  Source source[kSourcesTogether];
  int counts[kSourcesTogether];
};

MOXIE_INLINE void store_lanes(float* out, FloatVec results, int count) {
  if (count == kLanes) {
    store(out, results);
  } else {
    store_part(out, results, count);
  }
}

template <typename Type>
void multiply_columns_token(const MultiplyArgs& args) {
  const int64_t blocks = args.columns / 32, blocks_per_group = args.parted->layout.group / 32;
  const ActBlock32* const x = reinterpret_cast<const ActBlock32*>(args.activations);
  PartedSources<typename Type::Source> all;
  FloatVec sums[kSourcesTogether], scales[kSourcesTogether], minima[kSourcesTogether];
  for (int64_t row = 0; row < args.rows; row += kSourcesTogether * kLanes) {
    const int sources = all.start(args, row);
    std::memset(sums, 0, sizeof sums);
    for (int64_t first = 0, group = 0; first < blocks; first += blocks_per_group, ++group) {
      for (int s = 0; s < sources; ++s) all.source[s].load(group, scales[s], minima[s]);
      for (int64_t block = first; block < first + blocks_per_group; ++block) {
        for (int s = 0; s < sources; ++s) {
          IntVec values[8], totals[1][1] = {{splat_int(-kProductOffset<Type> * x[block].sum)}};
          all.source[s].values(block, values);
          multiply_block<Type>({values}, &x[block].values, totals);
          sums[s] = add_block<Type>(sums[s], totals[0][0], scales[s], minima[s], x[block]);
        }
      }
    }
    for (int s = 0; s < sources; ++s) store_lanes(args.out + row + s * kLanes, sums[s], all.counts[s]);
  }
}

template <typename Type>
class PartedColumns {
 public:
  PartedColumns(const MultiplyArgs& args, int64_t row) : blocks_per_group_(args.parted->layout.group / 32) {
    source_.begin(*args.parted, args.first_row + row,
                  static_cast<int>(args.rows - row < kLanes ? args.rows - row : kLanes));
  }
  void fill(int64_t first, int blocks, Panel& panel) {
    for (int b = 0; b < blocks; ++b) {
      source_.values(first + b, panel.values[b]);
      if (b == 0 || (first + b) % blocks_per_group_ == 0) {
        source_.load((first + b) / blocks_per_group_, panel.scales[b], panel.minima[b]);
      } else {
        panel.scales[b] = panel.scales[b - 1];
        panel.minima[b] = panel.minima[b - 1];
      }
    }
  }
  template <int kCache>
  void fetch_ahead(int64_t, int64_t, LinesAhead<kCache>&) const {}

 private:
  typename Type::Source source_;
  int64_t blocks_per_group_;
};

template <typename Type>
void multiply_parted_columns(const MultiplyArgs& args) {
  if (args.tokens == 1) return multiply_columns_token<Type>(args);
  multiply_32_panels<Type, PartedColumns<Type>>(args);
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

// kLanes interleaved rows of weights (interleave.h), one vector lane to each; for the *.simd.cpp files under types/
// only. Pure functions.
#pragma once

#include "core/simd.h"
#include "quant/interleave.h"
#include "quant/quant_type.h"
#include "quant/rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Vectors of rows that are worked on in turn: a processor fetches two streams of memory faster than one.
constexpr int kStreams = 2;
// How far ahead lines are asked for: into the first cache, and into the second; or once (kOnceBytes).
constexpr ptrdiff_t kNearBytes = 2048, kFarBytes = 4096;
// How long a stream is at least, where there are rows enough: at its end the next lines were not asked for.
constexpr size_t kLongBytes = 65536;

// Words of 4 bytes of kLanes rows: lane r of [i] holds word i of row r.
class LaneWords {
 public:
  MOXIE_INLINE explicit LaneWords(const std::byte* at) : at_(at) {}
  MOXIE_INLINE IntVec operator[](int i) const {
    IntVec v;
    std::memcpy(&v, at_ + 4 * kInterleavedRows * i, sizeof v);
    return v;
  }
  MOXIE_INLINE LaneWords operator+(int words) const { return LaneWords(at_ + 4 * kInterleavedRows * words); }

 private:
  const std::byte* at_;
};

// Type: as multiply_32.h and multiply_256.h want it. REQUIRES: rows are whole groups, row is a multiple of kLanes.
// Beyond the last group that one stands in.
template <class Type>
class InterleavedRows {
 public:
  using Block = typename Type::Block;
  static constexpr size_t kHalves = Type::kMinimum ? 2 : 1;
  static constexpr size_t kGroupBlockBytes = kInterleavedRows * sizeof(Block);

  MOXIE_INLINE InterleavedRows(const MultiplyArgs& args, int64_t row)
      : first_(args.weights + group_of(args, row) * static_cast<int64_t>(args.row_bytes)),
        lane_(static_cast<size_t>(row % kInterleavedRows)) {}

  // The 16-bit numbers at byte `at` of a block.
  MOXIE_INLINE FloatVec halves(int64_t block, size_t at) const {
    const size_t number = (at - Type::kScaleAt) / 2;
    return load_f16(this->block(block) + 2 * (number * kInterleavedRows + lane_));
  }
  // The words from byte `at` of a block on, up to where the 16-bit numbers stand.
  MOXIE_INLINE LaneWords words(int64_t block, size_t at) const {
    const size_t before = at > Type::kScaleAt ? at - 2 * kHalves : at;
    return LaneWords(this->block(block) + kInterleavedRows * (2 * kHalves + before) + 4 * lane_);
  }
  // Not the rest of a group of rows, of which others stand for the first ones.
  bool begins_group() const { return lane_ == 0; }
  const std::byte* block(int64_t block) const { return first_ + static_cast<size_t>(block) * kGroupBlockBytes; }
  MOXIE_INLINE void store_results(float* out, FloatVec results) const { store(out, results); }

 private:
  MOXIE_INLINE static int64_t group_of(const MultiplyArgs& args, int64_t row) {
    return (row < args.rows ? row : args.rows - 1) / kInterleavedRows * kInterleavedRows;
  }

  const std::byte* first_;
  size_t lane_;
};

// Asks for the `part`th of kParts of what lies a little further on than block `block` of each stream, and for what lies
// a page further. In a loop of its own, not unrolled: processors learn from the few instructions that come again and
// again how the addresses go on. As many instructions as there are lines teach them nothing: 8 to 14 % slower. Where
// lines are asked for once, a part may be asked for in kAsks goes, of which this is the `ask`th.
template <int kParts, int kAsks = 1, class Type, size_t kVectors>
MOXIE_INLINE void prefetch_streams(const InterleavedRows<Type> (&rows)[kVectors], int64_t block, int part,
                                   int ask = 0) {
  constexpr int kLines = static_cast<int>((InterleavedRows<Type>::kGroupBlockBytes + 63) / 64);
  // With fewer lanes vectors share lines: the first ones of one group of rows, the last ones of another.
  constexpr int kApart = kVectors * kLanes > kInterleavedRows ? 2 : 1;
  static_assert(kVectors * kLanes <= 2 * kInterleavedRows);
  if (is_amd()) {
    const int go = part * kAsks + ask;
    const int begin = kLines * go / (kParts * kAsks), end = kLines * (go + 1) / (kParts * kAsks);
    const ptrdiff_t ahead = kOnceBytes + 64 * begin;
    ask_once<kApart>(rows[0].block(block) + ahead, rows[kVectors - 1].block(block) + ahead, end - begin);
    return;
  }
  if (ask > 0) return;
#pragma GCC unroll 1
  for (int line = kLines * part / kParts; line < kLines * (part + 1) / kParts; ++line) {
    for (int s = 0; s < kApart; ++s) {
      const std::byte* at = rows[s * (kVectors - 1)].block(block) + 64 * line;
      __builtin_prefetch(at + kNearBytes, 0, 3);
      __builtin_prefetch(at + kFarBytes, 0, 2);
    }
  }
}

// Calls body(first, second) with the first rows of vectors that are to be worked on in turn, so that each stream runs
// through kLongBytes of memory or more; `second` may lie beyond the last row. kFour: body takes four as well, which are
// two streams where two vectors are one group of rows.
template <bool kFour = false, typename Body>
MOXIE_INLINE void for_streams(const MultiplyArgs& args, const Body& body) {
  static_assert(kStreams == 2);
  if constexpr (kFour && 2 * kLanes == kInterleavedRows) {
    if (is_amd()) {
      const int64_t half = (args.rows + 2 * kInterleavedRows - 1) / (2 * kInterleavedRows) * kInterleavedRows;
      for (int64_t a = 0, b = half; a < half; a += kInterleavedRows, b += kInterleavedRows) {
        body(a, a + kLanes, b, b + kLanes);
      }
      return;
    }
  }
  const int64_t vectors = (args.rows + kLanes - 1) / kLanes;
  const size_t group_bytes = kInterleavedRows * args.row_bytes;
  const int64_t long_enough = is_amd() ? vectors : static_cast<int64_t>((kLongBytes + group_bytes - 1) / group_bytes);
  // Vectors that are parts of one group stay together: they share lines.
  const int64_t most = kLanes < kInterleavedRows ? 1 : long_enough;
  for (int64_t begin = 0; begin < vectors; begin += 2 * most) {
    const int64_t left = (vectors - begin + 1) / 2, length = left < most ? left : most;
    for (int64_t i = begin; i < begin + length; ++i) body(i * kLanes, (i + length) * kLanes);
  }
}

// What is wanted later.
template <class Type, int kCache>
void add_blocks_ahead(const InterleavedRows<Type>& rows, int64_t first, int64_t count, LinesAhead<kCache>& ahead) {
  if (!rows.begins_group()) return;  // the lines are the first lanes' too
  ahead.add(rows.block(first), static_cast<size_t>(count) * InterleavedRows<Type>::kGroupBlockBytes);
}

// Calls of a product with interleaved rows: whole groups of them, then those left as plain ones.
template <typename Interleaved, typename Plain>
MOXIE_INLINE void multiply_groups(const MultiplyArgs& args, const Interleaved& interleaved, const Plain& plain) {
  const int64_t whole = args.rows / kInterleavedRows * kInterleavedRows;
  MultiplyArgs part = args;
  part.rows = whole;
  if (whole > 0) interleaved(part);
  if (whole == args.rows) return;
  part.weights += whole * static_cast<int64_t>(args.row_bytes);
  part.out += whole;
  part.rows = args.rows - whole;
  part.interleaved = false;
  plain(part);
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

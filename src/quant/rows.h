// kLanes rows of weights at a time, one vector lane to each row; for the *.simd.cpp files under types/ only. Pure
// functions.
#pragma once

#include "core/simd.h"
#include "quant/quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

// AMD's processors, of which Zen 5 was measured, do best when lines are asked for once and streams are as long as can
// be; Intel's, of which Sapphire Rapids was measured, when lines are asked for twice and streams are no longer than
// needed.
MOXIE_INLINE bool is_amd() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd") != 0;
#else
  return false;
#endif
}
constexpr ptrdiff_t kOnceBytes = 4096;  // how far ahead

// Rows [row, row + kLanes) of a product; where fewer are left the last one stands in, and its results are not stored.
class RowGroup {
 public:
  RowGroup(const MultiplyArgs& args, int64_t row) : first_(args.weights + row * args.row_bytes) {
    const int64_t last = args.rows - row - 1;
    for (int r = 0; r < kLanes; ++r) offsets_[r] = (r < last ? r : last) * static_cast<int64_t>(args.row_bytes);
    count_ = static_cast<int>(last + 1 < kLanes ? last + 1 : kLanes);
  }
  MOXIE_INLINE const std::byte* row(int r) const { return first_ + offsets_[r]; }
  int count() const { return count_; }
  size_t stride() const { return static_cast<size_t>(offsets_[1]); }
  MOXIE_INLINE void store_results(float* out, FloatVec results) const {
    if (count_ == kLanes) {
      store(out, results);
    } else {
      store_part(out, results, count_);
    }
  }

 private:
  const std::byte* first_;
  int64_t offsets_[kLanes];
  int count_;
};

// Fetches the `count` blocks that are `distance` bytes further on, which may be beyond the matrix.
template <typename Block>
MOXIE_INLINE void prefetch_block(const Block* block, size_t distance, size_t count = 1) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(block) + distance;
  for (size_t line = 0; line < count * sizeof(Block); line += 64)
    __builtin_prefetch(reinterpret_cast<const void*>(address + line));
}

// Asks for lines of one or two streams. One loop for all that ask, so that few instructions do it again and again: Zen
// 5 learns from each how its addresses go on, and reads 1 to 8 % faster than with a loop in each place.
template <int kCount>
[[gnu::noinline]] void ask_once(const std::byte* a, const std::byte* b, int lines) {
#pragma GCC unroll 1
  for (int i = 0; i < lines; ++i) {
    asm volatile("");  // else a call has no effect that a compiler knows of
    __builtin_prefetch(a + 64 * i, 0, 0);
    if (kCount == 2) __builtin_prefetch(b + 64 * i, 0, 0);
  }
}

// What is to be in a cache, asked for a few lines at a time while others are worked on, so that no core waits for them,
// nor for room to ask. Up to two runs of bytes one after another. kCache: 3 is the first cache, 2 the second.
template <int kCache>
class LinesAhead {
 public:
  void add(const std::byte* from, size_t bytes) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(from);
    runs_[count_++] = {begin, begin + bytes};
    lines_ += (bytes + 63) / 64;
  }
  // In so many equal steps all of it is asked for.
  void begin(int steps) { lines_of_step_ = (lines_ + static_cast<size_t>(steps) - 1) / static_cast<size_t>(steps); }
  MOXIE_INLINE void step() {
    for (size_t line = 0; line < lines_of_step_; ++line) {
      if (runs_[at_].next >= runs_[at_].end) {
        if (at_ + 1 >= count_) return;
        ++at_;
      }
      __builtin_prefetch(reinterpret_cast<const void*>(runs_[at_].next), 0, kCache);
      runs_[at_].next += 64;
    }
  }

 private:
  struct Run {
    uintptr_t next = 0, end = 0;
  };
  Run runs_[2];
  size_t count_ = 0, at_ = 0, lines_ = 0, lines_of_step_ = 0;
};
using Ahead = LinesAhead<2>;

// The same for up to two groups of rows that lie apart: some bytes of each. A step costs more.
template <int kCache>
class LinesOfRowsAhead {
 public:
  void add(const RowGroup& rows, size_t at, size_t bytes) { add(rows.row(0) + at, rows.stride(), rows.count(), bytes); }
  // `bytes` of each of `count` rows, the first of them at `from`.
  void add(const std::byte* from, size_t stride, int count, size_t bytes) {
    if (bytes == 0) return;
    groups_[count_++] = {reinterpret_cast<uintptr_t>(from), bytes, count, stride};
    lines_ += static_cast<size_t>(count) * ((bytes + 126) / 64);
  }
  void begin(int steps) {
    lines_of_step_ = (lines_ + static_cast<size_t>(steps) - 1) / static_cast<size_t>(steps);
    next_ = groups_[0].row;
  }
  MOXIE_INLINE void step() {
    for (size_t line = 0; line < lines_of_step_; ++line) {
      if (at_ == count_) return;
      Group& group = groups_[at_];
      __builtin_prefetch(reinterpret_cast<const void*>(next_), 0, kCache);
      next_ = (next_ | 63) + 1;
      if (next_ < group.row + group.bytes) continue;
      group.row += group.stride;
      if (--group.rows == 0) ++at_;
      next_ = groups_[at_].row;
    }
  }

 private:
  struct Group {
    uintptr_t row = 0;
    size_t bytes = 0;
    int rows = 0;
    size_t stride = 0;
  };
  Group groups_[3];  // the last one stays empty
  uintptr_t next_ = 0;
  size_t count_ = 0, at_ = 0, lines_ = 0, lines_of_step_ = 0;
};
using RowsAhead = LinesOfRowsAhead<2>;

// to[i] lane r = lane i of rows[r].
MOXIE_INLINE void transpose(const IntVec (&rows)[kLanes], IntVec* to) {
#if defined(__AVX512F__)
  __m512i four[4][4];  // four[i][j]: lane j of each quarter, of rows 4i to 4i + 3
  for (int i = 0; i < 4; ++i) {
    const __m512i r0 = (__m512i)rows[4 * i], r1 = (__m512i)rows[4 * i + 1];
    const __m512i r2 = (__m512i)rows[4 * i + 2], r3 = (__m512i)rows[4 * i + 3];
    const __m512i low01 = _mm512_unpacklo_epi32(r0, r1), high01 = _mm512_unpackhi_epi32(r0, r1);
    const __m512i low23 = _mm512_unpacklo_epi32(r2, r3), high23 = _mm512_unpackhi_epi32(r2, r3);
    four[i][0] = _mm512_unpacklo_epi64(low01, low23);
    four[i][1] = _mm512_unpackhi_epi64(low01, low23);
    four[i][2] = _mm512_unpacklo_epi64(high01, high23);
    four[i][3] = _mm512_unpackhi_epi64(high01, high23);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i low02 = _mm512_shuffle_i32x4(four[0][j], four[1][j], 0x88);
    const __m512i high02 = _mm512_shuffle_i32x4(four[2][j], four[3][j], 0x88);
    const __m512i low13 = _mm512_shuffle_i32x4(four[0][j], four[1][j], 0xdd);
    const __m512i high13 = _mm512_shuffle_i32x4(four[2][j], four[3][j], 0xdd);
    to[j] = (IntVec)_mm512_shuffle_i32x4(low02, high02, 0x88);
    to[4 + j] = (IntVec)_mm512_shuffle_i32x4(low13, high13, 0x88);
    to[8 + j] = (IntVec)_mm512_shuffle_i32x4(low02, high02, 0xdd);
    to[12 + j] = (IntVec)_mm512_shuffle_i32x4(low13, high13, 0xdd);
  }
#elif defined(__AVX2__)
  __m256i four[2][4];  // four[i][j]: lane j of each half, of rows 4i to 4i + 3
  for (int i = 0; i < 2; ++i) {
    const __m256i r0 = (__m256i)rows[4 * i], r1 = (__m256i)rows[4 * i + 1];
    const __m256i r2 = (__m256i)rows[4 * i + 2], r3 = (__m256i)rows[4 * i + 3];
    const __m256i low01 = _mm256_unpacklo_epi32(r0, r1), high01 = _mm256_unpackhi_epi32(r0, r1);
    const __m256i low23 = _mm256_unpacklo_epi32(r2, r3), high23 = _mm256_unpackhi_epi32(r2, r3);
    four[i][0] = _mm256_unpacklo_epi64(low01, low23);
    four[i][1] = _mm256_unpackhi_epi64(low01, low23);
    four[i][2] = _mm256_unpacklo_epi64(high01, high23);
    four[i][3] = _mm256_unpackhi_epi64(high01, high23);
  }
  for (int j = 0; j < 4; ++j) {
    to[j] = (IntVec)_mm256_permute2x128_si256(four[0][j], four[1][j], 0x20);
    to[4 + j] = (IntVec)_mm256_permute2x128_si256(four[0][j], four[1][j], 0x31);
  }
#else
  const IntVec low01 = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
  const IntVec high01 = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
  const IntVec low23 = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
  const IntVec high23 = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
  to[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  to[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  to[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  to[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
#endif
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

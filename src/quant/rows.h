// kLanes rows of weights at a time, one vector lane to each row; for the *.simd.cpp files under types/ only. Pure
// functions.
#pragma once

#include "core/simd.h"
#include "quant/quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Rows [row, row + kLanes) of a product; where fewer are left the last one stands in, and its results are not stored.
class RowGroup {
 public:
  RowGroup(const MultiplyArgs& args, int64_t row) : first_(args.weights + row * args.row_bytes) {
    const int64_t last = args.rows - row - 1;
    for (int r = 0; r < kLanes; ++r) offsets_[r] = (r < last ? r : last) * static_cast<int64_t>(args.row_bytes);
    count_ = static_cast<int>(last + 1 < kLanes ? last + 1 : kLanes);
  }
  MOXIE_INLINE const std::byte* row(int r) const { return first_ + offsets_[r]; }
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

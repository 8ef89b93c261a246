// Products of matrices whose packed integers lie row after row, with scales (and offsets) for groups of columns beside
// them, with activations in ActBlock32; for the *.simd.cpp files under parted/ only.
//
// A type gives what multiply_32.h asks for, but for the scales; its Block is 32 packed integers. In place of kScaleAt:
//   void begin(const PartedWeights&, const int64_t (&rows)[kLanes])   lanes are these rows from now on
//   void load(int64_t group, FloatVec& scale, FloatVec& minimum)      of every lane
// as members of a class Groups. Order of sums: that of multiply_32.h, the same for one token and many.
#pragma once

#include "quant/multiply_32.h"
#include "quant/parted_numbers.h"

namespace moxie::MOXIE_TARGET {
namespace {

// kLanes rows; where fewer are left the last one stands in, and its results are not stored.
template <typename Type>
class PartedRows {
 public:
  PartedRows(const MultiplyArgs& args, int64_t row) {
    const PartedWeights& weights = *args.parted;
    const int64_t last = args.rows - row - 1, row_bytes = args.columns / 32 * static_cast<int64_t>(kBlockBytes);
    int64_t numbers[kLanes];
    for (int r = 0; r < kLanes; ++r) {
      const int64_t number = args.first_row + row + (r < last ? r : last);
      numbers[r] = weights.layout.row_begin + number * weights.layout.row_step;
      rows_[r] = weights.part[0] + numbers[r] * row_bytes;
    }
    count_ = static_cast<int>(last + 1 < kLanes ? last + 1 : kLanes);
    blocks_per_group_ = weights.layout.group / 32;
    groups_.begin(weights, numbers);
  }
  MOXIE_INLINE const typename Type::Block& block(int r, int64_t index) const {
    return reinterpret_cast<const typename Type::Block*>(rows_[r])[index];
  }
  // Blocks are gone through in order, from any block on.
  void start_at(int64_t index) {
    group_ = index / blocks_per_group_;
    next_ = (group_ + 1) * blocks_per_group_;
    groups_.load(group_, scale, minimum);
  }
  MOXIE_INLINE void go_to(int64_t index) {
    if (index < next_) return;
    next_ += blocks_per_group_;
    groups_.load(++group_, scale, minimum);
  }
  MOXIE_INLINE void store_results(float* out, FloatVec results) const {
    if (count_ == kLanes) {
      store(out, results);
    } else {
      store_part(out, results, count_);
    }
  }
  // For panel_32.h.
  void fill(int64_t first, int blocks, Panel& panel) {
    for (int b = 0; b < blocks; b += 2) {
      const int next = b + 1 < blocks ? b + 1 : b;
      Bytes64 unpacked[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) {
        unpacked[r] = unpack_for_product<Type>(block(r, first + b), block(r, first + next));
      }
      transpose(unpacked, panel.values[b]);
    }
    start_at(first);
    for (int b = 0; b < blocks; ++b) {
      go_to(first + b);
      panel.scales[b] = scale;
      panel.minima[b] = minimum;
    }
  }
  template <int kCache>
  void fetch_ahead(int64_t, int64_t, LinesAhead<kCache>&) const {}

  FloatVec scale = {}, minimum = {};  // of the block's group

 private:
  static constexpr size_t kBlockBytes = sizeof(typename Type::Block);
  const std::byte* rows_[kLanes];
  typename Type::Groups groups_;
  int64_t blocks_per_group_, group_ = 0, next_ = 0;
  int count_;
};

template <typename Type>
void multiply_parted_token(const MultiplyArgs& args) {
  const int64_t blocks = args.columns / 32;
  const ActBlock32* x = reinterpret_cast<const ActBlock32*>(args.activations);
  for (int64_t row = 0; row < args.rows; row += kLanes) {
    PartedRows<Type> rows(args, row);
    rows.start_at(0);
    FloatVec sums = {};
    auto add = [&](int64_t index, IntVec totals) {
      rows.go_to(index);
      sums = add_block<Type>(sums, totals - kProductOffset<Type> * x[index].sum, rows.scale, rows.minimum, x[index]);
    };
    for (int64_t index = 0; index < blocks; index += 2) {
      const int64_t next = index + 1 < blocks ? index + 1 : index;  // an odd last block is paired with itself
      const Bytes64 values = load_32_32(x[index].values, x[next].values);
      IntParts products[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) {
        const Bytes64 w = unpack_for_product<Type>(rows.block(r, index), rows.block(r, next));
        for (int p = 0; p < kParts; ++p) products[r].part[p] = multiply_bytes<Type::kSigned>(w.part[p], values.part[p]);
      }
      const IntPair totals = sum_rows(products);
      add(index, totals.a);
      if (next != index) add(next, totals.b);
    }
    rows.store_results(args.out + row, sums);
  }
}

template <typename Type>
void multiply_parted_rows(const MultiplyArgs& args) {
  if (args.tokens == 1) return multiply_parted_token<Type>(args);
  multiply_32_panels<Type, PartedRows<Type>>(args);
}

// ---- what types are made of ----

// 32 numbers of 4 bits, the first in the low half of the first byte.
struct [[gnu::packed]] SequentialNibbles {
  uint8_t bytes[16];
};
MOXIE_INLINE Bytes64 load_sequential_nibbles(const SequentialNibbles& a, const SequentialNibbles& b) {
#if defined(__AVX512F__)
  __m256i raw = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a.bytes)));
  raw = _mm256_inserti128_si256(raw, _mm_loadu_si128(reinterpret_cast<const __m128i*>(b.bytes)), 1);
  const __m512i wide = _mm512_cvtepu8_epi16(raw);
  const __m512i both = _mm512_or_si512(wide, _mm512_slli_epi16(wide, 4));
  return {(ByteVec)_mm512_and_si512(both, _mm512_set1_epi8(15))};
#elif defined(__AVX2__)
  auto spread = [](const uint8_t* from) {
    const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    const __m256i both = _mm256_or_si256(wide, _mm256_slli_epi16(wide, 4));
    return (ByteVec)_mm256_and_si256(both, _mm256_set1_epi8(15));
  };
  return {spread(a.bytes), spread(b.bytes)};
#else
  Bytes64 to;
  const uint8_t* from[] = {a.bytes, b.bytes};
  for (int half = 0; half < 2; ++half) {
    ByteVec raw;
    std::memcpy(&raw, from[half], 16);
    const ByteVec low = raw & 15, high = raw >> 4;
    to.part[2 * half] = __builtin_shufflevector(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    to.part[2 * half + 1] =
        __builtin_shufflevector(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }
  return to;
#endif
}

// Rows of scales, one number a group: part kPart.
template <ScaleFormat kFormat, int kPart>
class LaneNumbers {
 public:
  void begin(const PartedWeights& weights, const int64_t (&rows)[kLanes]) {
    const int64_t row_bytes = weights.layout.columns / weights.layout.group * scale_bytes(kFormat);
    for (int r = 0; r < kLanes; ++r) rows_[r] = weights.part[kPart] + rows[r] * row_bytes;
  }
  MOXIE_INLINE FloatVec at(int64_t group) const { return gather_numbers<kFormat>(rows_, group); }

 private:
  const std::byte* rows_[kLanes];
};

}  // namespace
}  // namespace moxie::MOXIE_TARGET

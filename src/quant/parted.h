// Matrices whose parts lie apart: packed integers in one place, scales and offsets in others, as MLX, GPTQ, AWQ and
// others keep them. Plain data; usable in *.simd.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moxie {

constexpr int kPartsMax = 5;

enum class ScaleFormat : uint8_t { f32, f16, bf16, e8m0, e4m3, u8 };

// What the bytes of the parts mean, beside what the type says. Every type tells which of these it looks at.
struct PartedLayout {
  int64_t rows = 0, columns = 0;  // of the matrix that the parts hold
  // Rows that lie in turn with those of other matrices: row r of this one is number row_begin + r * row_step of what
  // the parts hold. All of these matrices count the same bytes as theirs, each its share.
  int64_t row_begin = 0, row_step = 1;
  int64_t column_step = 0;  // from a number to that of the next column, where columns lie apart
  int64_t group = 0;        // columns that share a scale
  int64_t group_rows = 1;   // rows that share it as well
  uint8_t bits = 0;
  ScaleFormat scales = ScaleFormat::f32;
  int8_t zero_step = 0;  // added to stored zero points
  float constant = 0;

  bool operator==(const PartedLayout&) const = default;
};

struct PartedWeights {
  PartedLayout layout;
  const std::byte* part[kPartsMax] = {};  // any alignment; null: absent
};

}  // namespace moxie

// Reading the numbers that scales and offsets are written as; for the *.simd.cpp files under parted/ only. Pure
// functions.
#pragma once

#include "core/simd.h"
#include "quant/parted.h"

namespace moxie::MOXIE_TARGET {
namespace {

// 2 ^ (exponent - 127); subnormal for exponent 0, infinite for 255.
MOXIE_INLINE float e8m0_to_float(uint8_t exponent) {
  return exponent == 0 ? 0x1p-127f : float_from_bits(static_cast<uint32_t>(exponent) << 23);
}

// 8-bit float with 4 bits of exponent and 3 of mantissa, no infinities.
MOXIE_INLINE float e4m3_to_float(uint8_t bits) {
  const uint32_t exponent = (bits >> 3) & 15u, mantissa = bits & 7u;
  const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24;
  if ((bits & 0x7fu) == 0x7fu) return float_from_bits(sign | 0x7fc00000u);
  const float magnitude = exponent == 0 ? static_cast<float>(mantissa) * 0x1p-9f
                                        : float_from_bits(((exponent + 120u) << 23) | (mantissa << 20));
  return sign != 0 ? -magnitude : magnitude;
}

constexpr int scale_bytes(ScaleFormat format) {
  return format == ScaleFormat::f32 ? 4 : format == ScaleFormat::f16 || format == ScaleFormat::bf16 ? 2 : 1;
}

// Number `index` of those that begin at `from`.
MOXIE_INLINE float read_number(ScaleFormat format, const std::byte* from, int64_t index) {
  switch (format) {
    case ScaleFormat::f32: {
      float value;
      std::memcpy(&value, from + index * 4, sizeof value);
      return value;
    }
    case ScaleFormat::f16:
      return half_to_float(load_u16(from + index * 2));
    case ScaleFormat::bf16:
      return float_from_bf16(load_u16(from + index * 2));
    case ScaleFormat::e8m0:
      return e8m0_to_float(static_cast<uint8_t>(from[index]));
    case ScaleFormat::e4m3:
      return e4m3_to_float(static_cast<uint8_t>(from[index]));
    case ScaleFormat::u8:
      return static_cast<float>(static_cast<uint8_t>(from[index]));
  }
  return 0;
}

// Number `index` of kLanes rows of numbers.
template <ScaleFormat kFormat>
MOXIE_INLINE FloatVec gather_numbers(const std::byte* const (&rows)[kLanes], int64_t index) {
  if constexpr (kFormat == ScaleFormat::f16 || kFormat == ScaleFormat::bf16) {
    uint16_t lanes[kLanes];
    for (int r = 0; r < kLanes; ++r) lanes[r] = load_u16(rows[r] + index * 2);
    return kFormat == ScaleFormat::f16 ? load_f16(lanes) : load_bf16(lanes);
  } else {
    float lanes[kLanes];
    for (int r = 0; r < kLanes; ++r) lanes[r] = read_number(kFormat, rows[r], index);
    return load(lanes);
  }
}

// kLanes numbers that follow one another, or as many as there are.
template <ScaleFormat kFormat>
MOXIE_INLINE FloatVec load_numbers(const std::byte* from, int64_t index, int count) {
  float lanes[kLanes] = {};
  if (count == kLanes && kFormat == ScaleFormat::f16) return load_f16(from + index * 2);
  if (count == kLanes && kFormat == ScaleFormat::bf16) return load_bf16(from + index * 2);
  for (int r = 0; r < count; ++r) lanes[r] = read_number(kFormat, from, index + r);
  return load(lanes);
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

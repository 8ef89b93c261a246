// Activations quantized to 8 bits, as the products of quantized weight types take them. Written by
// Kernels::quantize_q8_32 and quantize_q8_256; plain data.
#pragma once

#include <cstdint>

namespace moxie {

// 32 values = scale * values[i]; scale = max |x| / 127, 0 for an all-zero block.
struct ActBlock32 {
  float scale;
  int32_t sum;  // of values, for types that store a minimum or an offset
  int8_t values[32];
};
static_assert(sizeof(ActBlock32) == 40);

// With it the integers of a product with any type of 256-value blocks still fit 32 bits.
constexpr int kMaxActFactor = 16;

// 256 values: value i = scale * factors[i / 16] * values[i]. Every 32 values have a factor from 1 to kMaxActFactor, so
// that one large value does not set the step for all 256.
struct ActBlock256 {
  float scale;
  int8_t values[256];
  int16_t factors[16];    // of 16 values each, as sub-blocks are; 2 i and 2 i + 1 are equal
  int16_t sums[16];       // of 16 values each, times their factor
  int16_t sums_of_32[8];  // of 32 values each, times their factor; that they fit limits the factors too
  int16_t part_sums[32];  // of 8 values each, as they are
};
static_assert(sizeof(ActBlock256) == 404);

}  // namespace moxie

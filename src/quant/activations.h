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

// 256 values with one scale.
struct ActBlock256 {
  float scale;
  int8_t values[256];
  int16_t sums[16];  // sums[i]: of values[16 i .. 16 i + 15]
};
static_assert(sizeof(ActBlock256) == 292);

}  // namespace moxie

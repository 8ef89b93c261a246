// The packed 6-bit scales and minima of q4_k and q5_k. Usable in *.simd.cpp: everything is internal to the including file.
#pragma once

#include <cstdint>

namespace moxie {
namespace {

// Sub-blocks 0 to 3 keep theirs in the low six bits of bytes 0-3 (scale) and 4-7 (minimum); 4 to 7 have four bits in bytes
// 8-11 and their top two bits above the first four's.
inline void unpack_6bit_pairs(const uint8_t from[12], uint8_t scales[8], uint8_t minima[8]) {
  for (int k = 0; k < 4; ++k) {
    scales[k] = from[k] & 63;
    minima[k] = from[k + 4] & 63;
    scales[k + 4] = static_cast<uint8_t>((from[k + 8] & 15) | (from[k] >> 6) << 4);
    minima[k + 4] = static_cast<uint8_t>((from[k + 8] >> 4) | (from[k + 4] >> 6) << 4);
  }
}

[[maybe_unused]] inline void pack_6bit_pairs(const uint8_t scales[8], const uint8_t minima[8], uint8_t to[12]) {
  for (int k = 0; k < 4; ++k) {
    to[k] = static_cast<uint8_t>(scales[k] | (scales[k + 4] >> 4) << 6);
    to[k + 4] = static_cast<uint8_t>(minima[k] | (minima[k + 4] >> 4) << 6);
    to[k + 8] = static_cast<uint8_t>((scales[k + 4] & 15) | (minima[k + 4] & 15) << 4);
  }
}

}  // namespace
}  // namespace moxie

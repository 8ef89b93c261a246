// The packed 6-bit scales and minima of q4_k and q5_k. Usable in *.simd.cpp: everything is internal to the including
// file.
#pragma once

#include <cstdint>
#include <cstring>

namespace moxie {
namespace {

// Sub-blocks 0 to 3 keep theirs in the low six bits of bytes 0-3 (scale) and 4-7 (minimum); 4 to 7 have four bits in
// bytes 8-11 and their top two bits above the first four's.
struct ScalesAndMinima {
  uint64_t scales;  // of sub-block k in byte k
  uint64_t minima;
};
inline ScalesAndMinima unpack_6bit_pairs(const uint8_t from[12]) {
  uint32_t words[3];
  std::memcpy(words, from, sizeof words);
  constexpr uint32_t kNibbles = 0x0f0f0f0f, kSix = 0x3f3f3f3f, kPairs = 0x30303030;
  const uint32_t high_scales = (words[2] & kNibbles) | ((words[0] >> 2) & kPairs);
  const uint32_t high_minima = ((words[2] >> 4) & kNibbles) | ((words[1] >> 2) & kPairs);
  return {(words[0] & kSix) | static_cast<uint64_t>(high_scales) << 32,
          (words[1] & kSix) | static_cast<uint64_t>(high_minima) << 32};
}

// The same of many rows, a lane for each: words[i] is word i of the twelve bytes, byte j of scales[k] sub-block 4 k +
// j.
template <class Words, class Lanes>
inline void unpack_6bit_pairs(const Words& words, Lanes* scales, Lanes* minima) {
  const Lanes first = (Lanes)words[0], second = (Lanes)words[1], third = (Lanes)words[2];
  constexpr uint32_t kNibbles = 0x0f0f0f0f, kSix = 0x3f3f3f3f, kPairs = 0x30303030;
  scales[0] = first & kSix;
  scales[1] = (third & kNibbles) | (first >> 2 & kPairs);
  minima[0] = second & kSix;
  minima[1] = (third >> 4 & kNibbles) | (second >> 2 & kPairs);
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

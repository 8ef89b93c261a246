// What the encoders' searches share: a block's values with the cost of an error in each, rounding, sums. For *.simd.cpp
// files only; internal to the including file (core/simd.h). Pure functions. Written over vectors of four floats and
// without fused operations, so that every target finds the same bytes.
#pragma once

#include "core/simd.h"

namespace moxie::MOXIE_TARGET {
namespace {

constexpr float kWorstError = 3e38f;

MOXIE_INLINE Float4 splat4(float x) {
  return Float4{} + x;
}
MOXIE_INLINE Float4 load4(const float* from) {
  Float4 v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
MOXIE_INLINE float sum4(Float4 x) {
  return (x[0] + x[2]) + (x[1] + x[3]);
}
// To the nearest whole number within [low, high]; of two equally near ones the even.
MOXIE_INLINE Float4 round4(Float4 x, float low, float high) {
  x = x < low ? splat4(low) : x;
  x = x > high ? splat4(high) : x;
  return (x + 0x1.8p23f) - 0x1.8p23f;
}
MOXIE_INLINE float round_within(float x, float low, float high) {
  return round4(splat4(x), low, high)[0];
}
// Too small a scale is none: products with the inverse stay finite.
MOXIE_INLINE float inverse_or_zero(float x) {
  return __builtin_fabsf(x) > 1e-30f ? 1 / x : 0;
}
// Rounded to half precision; infinity is out of reach.
MOXIE_INLINE uint16_t half_from_scale(float x) {
  return f16_from_float(x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x);
}

template <int kValues>
struct WeightedBlock {
  float x[kValues];
  float w[kValues];  // 1e-6 to 1
  float largest;     // of |x|
};

// Leaves out what cannot be stored: NaN counts as zero, values beyond the reach of half-precision scales are brought
// near it. Importance that says nothing (none above zero) counts as equal for all.
template <int kValues>
void prepare(const float* from, const float* importance, WeightedBlock<kValues>& to) {
  constexpr float kLimit = 1e7f;
  float heaviest = 0;
  to.largest = 0;
  for (int i = 0; i < kValues; ++i) {
    float x = from[i];
    if (!(x == x)) x = 0;
    x = x > kLimit ? kLimit : x < -kLimit ? -kLimit : x;
    to.x[i] = x;
    to.largest = __builtin_fabsf(x) > to.largest ? __builtin_fabsf(x) : to.largest;
    const float w = importance == nullptr ? 1.0f : importance[i];
    to.w[i] = w > 0 && w < kWorstError ? w : 0.0f;
    heaviest = to.w[i] > heaviest ? to.w[i] : heaviest;
  }
  for (float& w : to.w) {
    w = heaviest > 0 ? w / heaviest : 1.0f;
    w = w < 1e-6f ? 1e-6f : w;
  }
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

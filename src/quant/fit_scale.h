// Finds the scale (and minimum) with which a block's values are best rounded to small integers; for encoders under
// types/ only. Several candidates are tried as they would be stored, in half precision, and the one with the least
// squared error is kept: the obvious one, some around it, and for each the least-squares answer to its own rounding.
#pragma once

#include "quant/make_quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

// As half precision stores it; beyond its range the largest number of the same sign, NaN as zero.
inline float as_half(float x) {
  if (!(x >= -65504.0f)) return x < 0 ? -65504.0f : 0.0f;
  return float_from_f16(f16_from_float(x > 65504.0f ? 65504.0f : x));
}

template <int kCount>
struct Fit {
  float scale = 0;
  float minimum = 0;
  float error = __builtin_inff();
  int levels[kCount] = {};
};

// Rounds values to levels [low, high] of the given scale and minimum, and keeps the outcome if it is the best so far.
// Returns the least-squares scale and minimum for these levels through its arguments.
template <int kCount>
void try_fit(const float* x, const float* importance, int low, int high, bool with_minimum, float& scale,
             float& minimum, Fit<kCount>& best) {
  Fit<kCount> fit;
  fit.scale = as_half(scale);
  fit.minimum = with_minimum ? as_half(minimum) : 0;
  const float inverse = fit.scale == 0 ? 0 : 1 / fit.scale;
  fit.error = 0;
  float sum_w = 0, sum_q = 0, sum_qq = 0, sum_x = 0, sum_qx = 0;
  for (int i = 0; i < kCount; ++i) {
    const float w = importance == nullptr ? 1 : importance[i];
    fit.levels[i] = round_clamped((x[i] - fit.minimum) * inverse, low, high);
    const float q = static_cast<float>(fit.levels[i]);
    const float off = x[i] - (fit.scale * q + fit.minimum);
    fit.error += w * off * off;
    sum_w += w;
    sum_q += w * q;
    sum_qq += w * q * q;
    sum_x += w * x[i];
    sum_qx += w * q * x[i];
  }
  if (with_minimum) {
    const float determinant = sum_w * sum_qq - sum_q * sum_q;
    scale = determinant > 0 ? (sum_w * sum_qx - sum_q * sum_x) / determinant : 0;
    minimum = sum_w > 0 ? (sum_x - scale * sum_q) / sum_w : 0;
  } else {
    scale = sum_qq > 0 ? sum_qx / sum_qq : 0;
  }
  if (fit.error < best.error) best = fit;
}

// value = scale * level with levels from -kHalf to kHalf - 1.
template <int kCount, int kHalf>
Fit<kCount> fit_symmetric(const float* x, const float* importance) {
  float extreme =
      0;  // the value of largest magnitude, with its sign: it gets the level -kHalf, which the other sign lacks
  for (int i = 0; i < kCount; ++i) {
    if (__builtin_fabsf(x[i]) > __builtin_fabsf(extreme)) extreme = x[i];
  }
  Fit<kCount> best;
  best.scale = as_half(extreme / -kHalf);  // stands if no error can be computed
  for (int i = 0; i < kCount; ++i)
    best.levels[i] = round_clamped(best.scale == 0 ? 0 : x[i] / best.scale, -kHalf, kHalf - 1);
  for (const float levels :
       {-1.0f * kHalf, -kHalf - 0.6f, -kHalf - 0.3f, -kHalf + 0.4f, -kHalf + 0.8f, kHalf - 1.0f, kHalf - 0.5f}) {
    float scale = extreme / levels, minimum = 0;
    try_fit<kCount>(x, importance, -kHalf, kHalf - 1, false, scale, minimum, best);
    try_fit<kCount>(x, importance, -kHalf, kHalf - 1, false, scale, minimum, best);
  }
  return best;
}

// value = scale * level + minimum with levels from 0 to kTop.
template <int kCount, int kTop>
Fit<kCount> fit_with_minimum(const float* x, const float* importance) {
  float low = x[0], high = x[0];
  for (int i = 1; i < kCount; ++i) {
    if (x[i] < low) low = x[i];
    if (x[i] > high) high = x[i];
  }
  const float range = high * 0.5f - low * 0.5f;  // halved, so that it does not overflow
  Fit<kCount> best;
  best.scale = as_half(range / (0.5f * kTop));
  best.minimum = as_half(low);
  const float trims[] = {0.0f, 0.3f, 0.6f, 0.9f, -0.3f};  // levels by which the range is drawn in at both ends
  for (const float trim : trims) {
    float scale = range / (0.5f * kTop + trim), minimum = low + trim * scale;
    try_fit<kCount>(x, importance, 0, kTop, true, scale, minimum, best);
    try_fit<kCount>(x, importance, 0, kTop, true, scale, minimum, best);
  }
  return best;
}

// Two levels of 0 to 15 to a byte: the first half of a block's values in the low nibbles.
inline void pack_nibbles(const int* levels, int offset, uint8_t* to) {
  for (int i = 0; i < 16; ++i) {
    to[i] = static_cast<uint8_t>(((levels[i] + offset) & 15) | ((levels[i + 16] + offset) & 15) << 4);
  }
}
// The fifth bits of 32 levels.
inline uint32_t pack_fifth_bits(const int* levels, int offset) {
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<uint32_t>((levels[i] + offset) >> 4 & 1) << i;
  return bits;
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

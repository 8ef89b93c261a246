// The search behind encoders of types with one signed scale per sub-block: value = scale * level, the scale itself a
// multiple of the block's. For *.simd.cpp files only; internal to the including file (core/simd.h).
//
// (1) Per sub-block: let the value furthest from zero fall on, short of or beyond either end of the levels, and fit the
// scale to the levels that gives. (2) Per block: quantize the sub-blocks' scales, the largest at either end of the
// range, and try the neighbours of each. (3) Fit the block's scale to the levels found and repeat (2); the best attempt
// stays.
#pragma once

#include "quant/fit.h"
#include "quant/four_bit_tables.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Levels say where their two ends lie, which level is nearest and, counted from 0, which one that is.
template <int kLowest, int kHighest>
struct LinearLevels {
  static constexpr float kLow = kLowest, kHigh = kHighest;
  MOXIE_INLINE static Float4 nearest(Float4 x) { return round4(x, kLow, kHigh); }
  MOXIE_INLINE static uint8_t code(float x) { return static_cast<uint8_t>(round_within(x, kLow, kHigh) - kLow); }
};

// Halves are where the nearest of whole-numbered levels changes: the code of the level nearest to i / 2 + 1 / 4 at i +
// 256.
struct NearestIq4 {
  uint8_t code[512];
};
constexpr NearestIq4 make_nearest_iq4() {
  NearestIq4 nearest = {};
  for (int i = 0; i < 512; ++i) {
    for (int k = 1; k < 16; ++k) {
      if (i - 256 >= kIq4Values[k - 1] + kIq4Values[k]) nearest.code[i] = static_cast<uint8_t>(k);
    }
  }
  return nearest;
}
constexpr NearestIq4 kNearestIq4 = make_nearest_iq4();

struct Iq4Levels {
  static constexpr float kLow = kIq4Values[0], kHigh = kIq4Values[15];
  MOXIE_INLINE static uint8_t code(float x) {
    x = x < kLow ? kLow : x > kHigh ? kHigh : x;
    return kNearestIq4.code[static_cast<int>(2 * x + 256)];
  }
  MOXIE_INLINE static Float4 nearest(Float4 x) {
    return Float4{static_cast<float>(kIq4Values[code(x[0])]), static_cast<float>(kIq4Values[code(x[1])]),
                  static_cast<float>(kIq4Values[code(x[2])]), static_cast<float>(kIq4Values[code(x[3])])};
  }
};

// Weighted sums over the levels l and the residuals r = x - scale l.
struct SymmetricSums {
  float ll, lr, rr;
};
template <class Levels, int kValues>
MOXIE_INLINE SymmetricSums sum_symmetric(const float* x, const float* w, float scale) {
  const Float4 inverse = splat4(inverse_or_zero(scale));
  Float4 ll = {}, lr = {}, rr = {};
  for (int i = 0; i < kValues; i += 4) {
    const Float4 xi = load4(x + i), wi = load4(w + i);
    const Float4 level = Levels::nearest(xi * inverse), r = xi - level * scale;
    ll += wi * level * level;
    lr += wi * level * r;
    rr += wi * r * r;
  }
  return {sum4(ll), sum4(lr), sum4(rr)};
}

template <class Levels, int kValues>
float fit_symmetric(const float* x, const float* w) {
  float extreme = 0;
  for (int i = 0; i < kValues; ++i) extreme = __builtin_fabsf(x[i]) > __builtin_fabsf(extreme) ? x[i] : extreme;
  float best = 0, least = kWorstError;
  auto consider = [&](float scale) {
    const SymmetricSums sums = sum_symmetric<Levels, kValues>(x, w, scale);
    if (!(sums.ll > 0)) return false;
    const float error = sums.rr - sums.lr * sums.lr / sums.ll;
    if (!(error < least)) return false;
    least = error;
    best = scale + sums.lr / sums.ll;
    return true;
  };
  for (int step = -2; step <= 10; ++step) {
    const float reach = 1 + 0.05f * static_cast<float>(step);
    consider(extreme / (Levels::kLow * reach));
    consider(extreme / (Levels::kHigh * reach));
  }
  for (int i = 0; i < 4 && consider(best); ++i) {
  }
  return best;
}

// value = (scale * scales[s]) * level
template <int kSubs>
struct SymmetricBlock {
  uint16_t scale;
  int8_t scales[kSubs];
  uint8_t codes[256];  // which level, counted from 0
};

template <class Levels, int kSubs, int kMinScale, int kMaxScale>
class SymmetricSearch {
 public:
  explicit SymmetricSearch(const WeightedBlock<256>& block) : block_(block) {}

  SymmetricBlock<kSubs> run() {
    float largest = 0;
    for (int s = 0; s < kSubs; ++s) {
      fits_[s] = fit_symmetric<Levels, kValues>(x(s), w(s));
      if (__builtin_fabsf(fits_[s]) > __builtin_fabsf(largest)) largest = fits_[s];
    }
    const float ends[] = {static_cast<float>(kMinScale), static_cast<float>(kMaxScale)};
    for (const float end : ends) {
      attempt(largest / end);
      attempt(fitted_scale());
    }
    for (int s = 0; s < kSubs; ++s) {
      const float inverse = inverse_or_zero(float_from_f16(best_.scale) * best_.scales[s]);
      for (int i = 0; i < kValues; ++i) best_.codes[kValues * s + i] = Levels::code(x(s)[i] * inverse);
    }
    return best_;
  }

 private:
  static constexpr int kValues = 256 / kSubs;
  const float* x(int sub) const { return block_.x + kValues * sub; }
  const float* w(int sub) const { return block_.w + kValues * sub; }

  // The best scale of a sub-block that is a multiple of the block's.
  float choose(int sub, float scale) {
    const float at = round_within(fits_[sub] * inverse_or_zero(scale), kMinScale, kMaxScale);
    float least = kWorstError;
    for (float a = at - 1; a <= at + 1; ++a) {
      if (a < kMinScale || a > kMaxScale) continue;
      const float error = sum_symmetric<Levels, kValues>(x(sub), w(sub), scale * a).rr;
      if (!(error < least)) continue;
      least = error;
      trial_.scales[sub] = static_cast<int8_t>(a);
    }
    return least;
  }

  void attempt(float wanted) {
    trial_.scale = half_from_scale(wanted);
    const float scale = float_from_f16(trial_.scale);
    float error = 0;
    for (int s = 0; s < kSubs; ++s) error += choose(s, scale);
    if (!(error < least_)) return;
    least_ = error;
    best_ = trial_;
  }

  // The scale of the block that fits the last attempt's levels best.
  float fitted_scale() const {
    const float scale = float_from_f16(trial_.scale);
    float ll = 0, lr = 0;
    for (int s = 0; s < kSubs; ++s) {
      const float a = trial_.scales[s];
      const SymmetricSums sums = sum_symmetric<Levels, kValues>(x(s), w(s), scale * a);
      ll += sums.ll * a * a;
      lr += sums.lr * a;
    }
    return ll > 0 ? scale + lr / ll : scale;
  }

  const WeightedBlock<256>& block_;
  float fits_[kSubs];
  SymmetricBlock<kSubs> trial_ = {};
  SymmetricBlock<kSubs> best_ = {};
  float least_ = kWorstError;
};

// 256 values to the block of the least weighted error found.
template <class Levels, int kSubs, int kMinScale, int kMaxScale>
SymmetricBlock<kSubs> fit_symmetric_block(const float* from, const float* importance) {
  WeightedBlock<256> block;
  prepare(from, importance, block);
  return SymmetricSearch<Levels, kSubs, kMinScale, kMaxScale>(block).run();
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

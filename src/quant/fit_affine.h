// The search behind encoders of types with a scale and a minimum per sub-block: value = scale * q - minimum, q = 0 ..
// kMaxQuant, both themselves quantized by two scales of the block. For *.simd.cpp files only; internal to the including
// file (core/simd.h).
//
// (1) Per sub-block: try ranges cut at either end, each followed by the least-squares fit to the quants it gives. (2)
// Per block: quantize the sub-blocks' scales and minima and try the neighbours of each. (3) Fit the block's two scales
// to the quants found and repeat (2); the best attempt stays.
#pragma once

#include "quant/fit.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct Affine {
  float scale;  // neither is negative
  float minimum;
  float error;  // weighted sum of squares
};

// The sums that the least-squares fit needs: of w, w q, w q q, w r, w q r, w r r with the residuals r = x - (scale q -
// minimum).
struct AffineSums {
  float w, q, qq, r, qr, rr;
};

template <int kValues, int kMaxQuant>
MOXIE_INLINE AffineSums sum_affine(const float* x, const float* w, float scale, float minimum) {
  const Float4 inverse = splat4(inverse_or_zero(scale));
  Float4 sw = {}, sq = {}, sqq = {}, sr = {}, sqr = {}, srr = {};
  for (int i = 0; i < kValues; i += 4) {
    const Float4 wi = load4(w + i), shifted = load4(x + i) + minimum;
    const Float4 q = round4(shifted * inverse, 0, kMaxQuant), r = shifted - q * scale;
    const Float4 wq = wi * q, wr = wi * r;
    sw += wi;
    sq += wq;
    sqq += wq * q;
    sr += wr;
    sqr += wq * r;
    srr += wr * r;
  }
  return {sum4(sw), sum4(sq), sum4(sqq), sum4(sr), sum4(sqr), sum4(srr)};
}

// Quantizes with `start`, then gives the best scale and minimum for those quants.
template <int kValues, int kMaxQuant>
Affine refit(const float* x, const float* w, const Affine& start) {
  const AffineSums s = sum_affine<kValues, kMaxQuant>(x, w, start.scale, start.minimum);
  const float determinant = s.qq * s.w - s.q * s.q;
  if (!(determinant > 1e-6f * s.qq * s.w)) return {start.scale, start.minimum, s.rr};
  const float scale = (s.qr * s.w - s.q * s.r) / determinant,
              minimum = (s.q * s.qr - s.qq * s.r) / determinant;  // changes
  Affine fit = {start.scale + scale, start.minimum + minimum, s.rr - (scale * s.qr - minimum * s.r)};
  if (fit.minimum < 0) {  // not storable: the best scale with none, from the residuals r - start.minimum
    const float qr = s.qr - start.minimum * s.q;
    const float rr = s.rr - 2 * start.minimum * s.r + start.minimum * start.minimum * s.w;
    fit = {start.scale + qr / s.qq, 0, rr - qr * qr / s.qq};
  }
  return fit.scale > 0 ? fit : Affine{start.scale, start.minimum, s.rr};
}

template <int kValues, int kMaxQuant>
Affine fit_affine(const float* x, const float* w) {
  float low = 0, high = x[0];
  for (int i = 0; i < kValues; ++i) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  if (!(high > low)) return {0, -low, 0};
  Affine best = {(high - low) / kMaxQuant, -low, kWorstError};
  auto consider = [&](const Affine& start) {
    const Affine fit = refit<kValues, kMaxQuant>(x, w, start);
    if (!(fit.error < best.error)) return false;
    best = fit;
    return true;
  };
  // In steps; unequal cuts matter most where values have unequal importance (5 % of the error).
  constexpr float kCuts[] = {-0.5f, 0.0f, 0.5f, 1.0f, 1.5f, 2.0f};
  for (const float cut_low : kCuts) {
    for (const float cut_high : kCuts) {
      const float scale = (high - low) / (kMaxQuant + cut_low + cut_high);
      const float minimum = -low - cut_low * scale;
      consider({scale, minimum < 0 ? 0 : minimum, 0});
    }
  }
  for (int i = 0; i < 6 && consider(best); ++i) {
  }
  return best;
}

// value = (scale * scales[s]) * quant - minimum * minima[s]
template <int kSubs>
struct AffineBlock {
  uint16_t scale;
  uint16_t minimum;
  uint8_t scales[kSubs];
  uint8_t minima[kSubs];
  uint8_t quants[256];
};

template <int kSubs, int kMaxQuant, int kMaxScale>
class AffineSearch {
 public:
  explicit AffineSearch(const WeightedBlock<256>& block) : block_(block) {}

  AffineBlock<kSubs> run() {
    float scale = 0, minimum = 0;
    for (int s = 0; s < kSubs; ++s) {
      fits_[s] = fit_affine<kValues, kMaxQuant>(x(s), w(s));
      scale = fits_[s].scale > scale ? fits_[s].scale : scale;
      minimum = fits_[s].minimum > minimum ? fits_[s].minimum : minimum;
    }
    attempt(scale / kMaxScale, minimum / kMaxScale);
    for (int i = 0; i < 3 && attempt_with_fitted_scales(); ++i) {
    }
    store_quants();
    return best_;
  }

 private:
  static constexpr int kValues = 256 / kSubs;
  const float* x(int sub) const { return block_.x + kValues * sub; }
  const float* w(int sub) const { return block_.w + kValues * sub; }

  // The best scale and minimum of a sub-block that are multiples of the block's.
  float choose(int sub, float scale, float minimum) {
    const float scale_at = round_within(fits_[sub].scale * inverse_or_zero(scale), 0, kMaxScale);
    const float minimum_at = round_within(fits_[sub].minimum * inverse_or_zero(minimum), 0, kMaxScale);
    float least = kWorstError;
    for (float a = scale_at - 1; a <= scale_at + 1; ++a) {
      for (float b = minimum_at - 1; b <= minimum_at + 1; ++b) {
        if (a < 0 || a > kMaxScale || b < 0 || b > kMaxScale) continue;
        const float error = sum_affine<kValues, kMaxQuant>(x(sub), w(sub), scale * a, minimum * b).rr;
        if (!(error < least)) continue;
        least = error;
        trial_.scales[sub] = static_cast<uint8_t>(a);
        trial_.minima[sub] = static_cast<uint8_t>(b);
      }
    }
    return least;
  }

  void attempt(float wanted_scale, float wanted_minimum) {
    trial_.scale = half_from_scale(wanted_scale);
    trial_.minimum = half_from_scale(wanted_minimum);
    const float scale = float_from_f16(trial_.scale), minimum = float_from_f16(trial_.minimum);
    float error = 0;
    for (int s = 0; s < kSubs; ++s) error += choose(s, scale, minimum);
    if (!(error < least_)) return;
    least_ = error;
    best_ = trial_;
  }

  // With the scales that fit the last attempt's quants best; false if they are the same.
  bool attempt_with_fitted_scales() {
    const float scale = float_from_f16(trial_.scale), minimum = float_from_f16(trial_.minimum);
    AffineSums all = {};
    for (int s = 0; s < kSubs; ++s) {
      const float a = trial_.scales[s], b = trial_.minima[s];
      const AffineSums sums = sum_affine<kValues, kMaxQuant>(x(s), w(s), scale * a, minimum * b);
      all.w += sums.w * b * b;
      all.q += sums.q * a * b;
      all.qq += sums.qq * a * a;
      all.r += sums.r * b;
      all.qr += sums.qr * a;
    }
    if (!(all.qq > 0)) return false;
    const float determinant = all.qq * all.w - all.q * all.q;
    const bool both = determinant > 1e-6f * all.qq * all.w;
    const float new_scale = scale + (both ? (all.qr * all.w - all.q * all.r) / determinant : all.qr / all.qq);
    const float new_minimum = minimum + (both ? (all.q * all.qr - all.qq * all.r) / determinant : 0);
    if (!(new_scale > 0) || !(new_minimum >= 0)) return false;
    if (half_from_scale(new_scale) == trial_.scale && half_from_scale(new_minimum) == trial_.minimum) return false;
    attempt(new_scale, new_minimum);
    return true;
  }

  void store_quants() {
    for (int s = 0; s < kSubs; ++s) {
      const float inverse = inverse_or_zero(float_from_f16(best_.scale) * best_.scales[s]);
      const float minimum = float_from_f16(best_.minimum) * best_.minima[s];
      for (int i = 0; i < kValues; ++i) {
        best_.quants[kValues * s + i] = static_cast<uint8_t>(round_within((x(s)[i] + minimum) * inverse, 0, kMaxQuant));
      }
    }
  }

  const WeightedBlock<256>& block_;
  Affine fits_[kSubs];
  AffineBlock<kSubs> trial_ = {};
  AffineBlock<kSubs> best_ = {};
  float least_ = kWorstError;
};

// 256 values to the block of the least weighted error found.
template <int kSubs, int kMaxQuant, int kMaxScale>
AffineBlock<kSubs> fit_affine_block(const float* from, const float* importance) {
  WeightedBlock<256> block;
  prepare(from, importance, block);
  return AffineSearch<kSubs, kMaxQuant, kMaxScale>(block).run();
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET

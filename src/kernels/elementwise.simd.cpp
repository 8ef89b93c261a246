// Element by element: sums, the gated activation.
#include "kernels/declare.h"

namespace moxie::MOXIE_TARGET {

void add(float* x, const float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, load(x + i) + load(y + i));
  if (i < n) store_part(x + i, load_part(x + i, n - i) + load_part(y + i, n - i), n - i);
}

void add_scaled(float* x, float scale, const float* y, int64_t n) {
  const FloatVec s = splat(scale);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, fma(s, load(y + i), load(x + i)));
  if (i < n) store_part(x + i, fma(s, load_part(y + i, n - i), load_part(x + i, n - i)), n - i);
}

namespace {
MOXIE_INLINE FloatVec silu(FloatVec x) {
  return x / (1.0f + exp(-x));
}
}  // namespace

void swiglu(const float* gate, const float* up, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, silu(load(gate + i)) * load(up + i));
  if (i < n) store_part(out + i, silu(load_part(gate + i, n - i)) * load_part(up + i, n - i), n - i);
}

namespace {
MOXIE_INLINE FloatVec clamped_gate(FloatVec gate, FloatVec up, float alpha, float limit) {
  gate = at_most(gate, splat(limit));
  up = at_least(at_most(up, splat(limit)), splat(-limit));
  return (up + 1.0f) * (gate / (1.0f + exp(-alpha * gate)));
}
}  // namespace

void clamped_swiglu(const float* gate, const float* up, float alpha, float limit, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, clamped_gate(load(gate + i), load(up + i), alpha, limit));
  if (i < n)
    store_part(out + i, clamped_gate(load_part(gate + i, n - i), load_part(up + i, n - i), alpha, limit), n - i);
}

}  // namespace moxie::MOXIE_TARGET

// Root-mean-square normalisation of one row.
#include "kernels/declare.h"

namespace moxie::MOXIE_TARGET {

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  // Four chains hide the latency of the sum and keep each short.
  constexpr int kChains = 4;
  FloatVec squares[kChains] = {};
  int64_t i = 0;
  for (; i + kChains * kLanes <= n; i += kChains * kLanes) {
    for (int c = 0; c < kChains; ++c) {
      const FloatVec v = load(x + i + c * kLanes);
      squares[c] = fma(v, v, squares[c]);
    }
  }
  for (; i + kLanes <= n; i += kLanes) squares[0] = fma(load(x + i), load(x + i), squares[0]);
  if (i < n) {
    const FloatVec v = load_part(x + i, n - i);
    squares[1] = fma(v, v, squares[1]);
  }
  const float sum = sum_lanes((squares[0] + squares[1]) + (squares[2] + squares[3]));
  const FloatVec scale = splat(1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps));

  for (i = 0; i + kLanes <= n; i += kLanes) {
    const FloatVec v = load(x + i) * scale;
    store(out + i, weight == nullptr ? v : v * load(weight + i));
  }
  if (i < n) {
    const FloatVec v = load_part(x + i, n - i) * scale;
    store_part(out + i, weight == nullptr ? v : v * load_part(weight + i, n - i), n - i);
  }
}

}  // namespace moxie::MOXIE_TARGET

// Softmax of one row in place.
#include "kernels/declare.h"

namespace moxie::MOXIE_TARGET {

void softmax(float* x, int64_t n) {
  if (n <= 0) return;
  FloatVec largest = splat(x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) largest = at_least(load(x + i), largest);
  float top = max_lanes(largest);
  for (; i < n; ++i) top = x[i] > top ? x[i] : top;

  const FloatVec offset = splat(top);
  FloatVec sums = {};
  for (i = 0; i + kLanes <= n; i += kLanes) {
    const FloatVec e = exp(load(x + i) - offset);
    store(x + i, e);
    sums += e;
  }
  if (i < n) {
    store_part(x + i, exp(load_part(x + i, n - i) - offset), n - i);
    sums += load_part(x + i, n - i);
  }
  const FloatVec scale = splat(1.0f / sum_lanes(sums));
  for (i = 0; i + kLanes <= n; i += kLanes) store(x + i, load(x + i) * scale);
  if (i < n) store_part(x + i, load_part(x + i, n - i) * scale, n - i);
}

}  // namespace moxie::MOXIE_TARGET

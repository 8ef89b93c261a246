#include "model/blocks/router.h"

#include <algorithm>

namespace moxie {

void choose_experts(std::span<const float> probabilities, const RouterOptions& options, int32_t* ids, float* weights) {
  // Insertion into a short sorted list: K is small.
  int64_t count = 0;
  for (int32_t id = 0; id < static_cast<int32_t>(probabilities.size()); ++id) {
    const float p = probabilities[static_cast<size_t>(id)];
    int64_t at = count;
    while (at > 0 && !(weights[at - 1] >= p)) --at;
    if (at >= options.used) continue;
    count = std::min(count + 1, options.used);
    for (int64_t i = count - 1; i > at; --i) {
      ids[i] = ids[i - 1];
      weights[i] = weights[i - 1];
    }
    ids[at] = id;
    weights[at] = p;
  }
  if (!options.normalise) return;
  float sum = 0;
  for (int64_t i = 0; i < options.used; ++i) sum += weights[i];
  // The floor keeps a row of zeros (underflow) from dividing by zero.
  sum = std::max(sum, 6.103515625e-5f);
  for (int64_t i = 0; i < options.used; ++i) weights[i] /= sum;
}

}  // namespace moxie

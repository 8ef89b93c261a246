// From a router's probabilities to experts and weights.
#pragma once

#include <cstdint>
#include <span>

#include "model/hyperparameters.h"

namespace moxie {

// probabilities: softmax over all experts. ids, weights: (options.used), heaviest first; equal probabilities go to the
// lower id. With options.normalise the weights sum to one, which equals a softmax over the chosen logits alone.
void choose_experts(std::span<const float> probabilities, const RouterOptions& options, int32_t* ids, float* weights);

}  // namespace moxie

// How fast this machine multiplies, measured. For judging a speed, not for deciding anything.
#pragma once

#include <vector>

#include "core/thread_pool.h"
#include "kernels/kernels.h"

namespace moxie {

// Multiply-adds a second of all threads together, one figure for each pass, ascending.
struct ComputePeak {
  std::vector<double> int8_products, float_products;
  std::vector<double> bf16_products;  // bfloat16 weights, activations as floats or rounded
};

// Takes passes x about 30 ms. rounded: bfloat16 weights meet rounded activations, as fast_quant_type() has it.
// REQUIRES: passes >= 1.
ComputePeak measure_compute_peak(ThreadPool& pool, const Kernels& kernels, int passes, bool rounded = false);

}  // namespace moxie

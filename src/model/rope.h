// Rotary position embedding: frequencies with the file's scaling (linear, YaRN, llama3, or a factor tensor). Immutable.
// Su et al., arXiv 2104.09864; Peng et al. (YaRN), arXiv 2309.00071.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/hyperparameters.h"

namespace moxie {

class Rope {
 public:
  Rope() = default;
  // factors: (dims / 2), frequencies are divided by them; empty: none.
  Rope(const RopeOptions& options, std::span<const float> factors);

  // Appends the rows of positions [first, first + count) to the table.
  void append(RopeTable& table, int64_t first, int64_t count) const;
  void reset(RopeTable& table) const;
  std::span<const double> frequencies() const { return frequencies_; }  // radians per position, (dims / 2)
  double magnitude() const { return magnitude_; }

 private:
  std::vector<double> frequencies_;
  double magnitude_ = 1;  // factor on cos and sin
  bool neox_ = false;
};

}  // namespace moxie

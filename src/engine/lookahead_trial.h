// Decides, while decoding, whether guessing what later layers want pays: short windows with and without it take turns,
// the faster way is kept for a while, then both are tried again. Not thread-safe.
#pragma once

#include <cstdint>

namespace moxie {

class LookaheadTrial {
 public:
  static constexpr int64_t kWindow = 8;   // steps
  static constexpr int64_t kWindows = 4;  // off, on, off, on
  static constexpr int64_t kHold = 256;   // steps between trials

  // For the next step.
  bool wanted() const { return step_ < kWindow * kWindows ? step_ / kWindow % 2 == 1 : chosen_; }
  // How long that step took.
  void add(double seconds) {
    if (step_ < kWindow * kWindows) seconds_[wanted() ? 1 : 0] += seconds;
    if (++step_ == kWindow * kWindows) chosen_ = seconds_[1] < seconds_[0];
    if (step_ < kWindow * kWindows + kHold) return;
    step_ = 0;
    seconds_[0] = seconds_[1] = 0;
  }

 private:
  int64_t step_ = 0;
  double seconds_[2] = {};
  bool chosen_ = false;
};

}  // namespace moxie

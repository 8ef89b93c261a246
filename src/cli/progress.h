// The line that shows how far loading is, on a terminal alone; in a pipe it is silent. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>

namespace moxie::cli {

class Progress {
 public:
  Progress();
  ~Progress() { clear(); }
  void update(uint64_t done, uint64_t total);
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_, last_;
};

}  // namespace moxie::cli

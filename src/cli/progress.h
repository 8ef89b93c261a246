// The line that shows how far loading (or what else takes long) is, on a terminal alone; in a pipe it is silent. Not
// thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace moxie::cli {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;
  // now: what tells the time.
  explicit Progress(std::string_view doing = "loading", Clock::time_point (*now)() = &Clock::now);
  ~Progress() { clear(); }
  void update(uint64_t done, uint64_t total);
  void clear();

 private:
  std::string_view doing_;
  Clock::time_point (*now_)();
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_, last_;
};

}  // namespace moxie::cli

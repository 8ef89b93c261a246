// The line that shows how far loading (or what else takes long) is, on a terminal alone; in a pipe it is silent. Not
// thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace moxie::cli {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;
  // now: what tells the time.
  explicit Progress(std::string_view doing = "loading", Clock::time_point (*now)() = &Clock::now);
  ~Progress() { clear(); }
  // before: of `done`, what was there when the work began; it does not count for the rate.
  void update(uint64_t done, uint64_t total, uint64_t before = 0);
  void set_doing(std::string_view doing) { doing_ = doing; }
  void clear();

 private:
  std::string doing_;
  Clock::time_point (*now_)();
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_, last_;
};

}  // namespace moxie::cli

// --watch: the experts of an engine, live at the bottom of the terminal while it computes. Looked at from a thread of
// its own, some ten times a second. Belongs to the thread that starts it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "cli/expert_picture.h"
#include "cli/live_region.h"
#include "moxie/engine.h"

namespace moxie::cli {

// Figures of the last moments from figures since the start: over at least two seconds and four tokens, where there
// were as many, and at most a minute.
class RecentRates {
 public:
  using Clock = std::chrono::steady_clock;
  PictureRates add(Clock::time_point now, const ExpertHeat& heat);

 private:
  struct Sample {
    Clock::time_point at;
    uint64_t tokens, bytes;
    double stall_seconds, busy_seconds;
  };
  std::deque<Sample> samples_;
};

class ExpertWatch {
 public:
  ExpertWatch() = default;
  ~ExpertWatch() { stop(); }
  ExpertWatch(const ExpertWatch&) = delete;
  ExpertWatch& operator=(const ExpertWatch&) = delete;

  // Says on stderr where there is nothing to draw on, or nothing to draw. REQUIRES: the engine lives until stop().
  void start(const Engine& engine);
  // The live picture goes; the last one stays as plain lines.
  void stop();

 private:
  void watch();
  std::vector<std::string> picture(TerminalSize size);

  const Engine* engine_ = nullptr;  // null: nothing is watched
  bool live_ = false, colour_ = false, unicode_ = false;
  LiveRegion region_;
  RecentRates rates_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
};

}  // namespace moxie::cli

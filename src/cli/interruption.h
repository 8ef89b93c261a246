// Ctrl-C for commands: the first one stops the running call of a sequence, the second ends the program. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>

#include "core/interrupt.h"
#include "moxie/engine.h"

namespace moxie::cli {

class Interruption {
 public:
  Interruption();

  bool happened() const { return happened_; }
  const std::atomic<bool>& flag() const { return happened_; }
  // The sequence to cancel; null before it dies.
  void attach(Sequence* sequence);
  // While the program waits for its user, Ctrl-C ends it at once.
  void set_waiting(bool waiting) { waiting_ = waiting; }
  void clear() { happened_ = false; }

 private:
  void handle();

  std::atomic<bool> happened_{false}, waiting_{false};
  std::mutex mutex_;
  Sequence* sequence_ = nullptr;
  std::chrono::steady_clock::time_point last_;  // of the watch's thread alone
  InterruptWatch watch_;                        // last: its thread uses the others
};

}  // namespace moxie::cli

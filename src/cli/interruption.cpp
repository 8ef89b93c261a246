#include "cli/interruption.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "cli/live_region.h"

namespace moxie::cli {
namespace {

// Without destructors: other threads are still at work. Whatever was printed is out already.
[[noreturn]] void end_now() {
  release_terminal();
  std::_Exit(exit_code(ErrorCode::cancelled));
}

}  // namespace

Interruption::Interruption() : watch_([this] { handle(); }) {}

void Interruption::attach(Sequence* sequence) {
  const std::lock_guard lock(mutex_);
  sequence_ = sequence;
  if (sequence && happened_) sequence->cancel();
}

void Interruption::handle() {
  if (waiting_) {
    std::fputs("\n", stdout);
    std::fflush(stdout);
    end_now();
  }
  // Some senders (timeout, shells' wrappers) signal the process and then its group: that is one interrupt.
  const auto now = std::chrono::steady_clock::now();
  const bool echo = now - last_ < std::chrono::milliseconds(300);
  last_ = now;
  if (echo) return;
  if (happened_.exchange(true)) end_now();
  const std::lock_guard lock(mutex_);
  if (sequence_) sequence_->cancel();
}

}  // namespace moxie::cli

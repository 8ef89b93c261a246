// Ctrl-C as a function call. While a watch lives, SIGINT does not kill the process but calls the watch's function on a
// thread of its own, where it may lock and print. One watch at a time; create it before other threads start, since it
// works by the signal mask that they inherit. Where SIGINT is ignored when the watch begins (a script's background
// job), it stays ignored.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

namespace moxie {

class InterruptWatch {
 public:
  explicit InterruptWatch(std::function<void()> on_interrupt);
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moxie

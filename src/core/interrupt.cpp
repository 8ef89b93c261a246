#include "core/interrupt.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>

#include <thread>

namespace moxie {

struct InterruptWatch::Impl {
  std::function<void()> on_interrupt;
  std::atomic<bool> stopping{false};
  sigset_t before;
  std::thread thread;
};

InterruptWatch::InterruptWatch(std::function<void()> on_interrupt) {
  struct sigaction present;
  if (sigaction(SIGINT, nullptr, &present) == 0 && present.sa_handler == SIG_IGN) return;
  impl_ = std::make_unique<Impl>();
  impl_->on_interrupt = std::move(on_interrupt);
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &impl_->before);
  impl_->thread = std::thread([impl = impl_.get(), interrupt] {
    for (int signal = 0; sigwait(&interrupt, &signal) == 0;) {
      if (impl->stopping) return;
      impl->on_interrupt();
    }
  });
}

InterruptWatch::~InterruptWatch() {
  if (!impl_) return;
  impl_->stopping = true;
  pthread_kill(impl_->thread.native_handle(), SIGINT);
  impl_->thread.join();
  pthread_sigmask(SIG_SETMASK, &impl_->before, nullptr);
}

}  // namespace moxie

#else

namespace moxie {

struct InterruptWatch::Impl {};
InterruptWatch::InterruptWatch(std::function<void()>) {}
InterruptWatch::~InterruptWatch() = default;

}  // namespace moxie

#endif

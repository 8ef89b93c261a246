#include "core/interrupt.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace moxie {
namespace {

TEST(InterruptWatch, CallsAndThenLetsGo) {
  const auto before = signal(SIGINT, SIG_DFL);
  std::atomic<int> calls{0};
  {
    InterruptWatch watch([&] { ++calls; });
    for (int i = 1; i <= 2; ++i) {
      kill(getpid(), SIGINT);
      for (int wait = 0; wait < 2000 && calls < i; ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      EXPECT_EQ(calls, i);
    }
  }
  EXPECT_EQ(calls, 2);  // ending the watch is no interrupt
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  EXPECT_FALSE(sigismember(&mask, SIGINT));
  signal(SIGINT, SIG_IGN);
  {
    InterruptWatch watch([&] { ++calls; });
    kill(getpid(), SIGINT);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(calls, 2);  // who ignores it goes on ignoring it
  signal(SIGINT, before);
}

}  // namespace
}  // namespace moxie

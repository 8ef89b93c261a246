// Ends the test program when a test does not end: a hang is a failure with a name, not a build that stands still.
// Patient: sanitizers are slow, on a busy machine more so.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace moxie::test {

class Watchdog {
 public:
  explicit Watchdog(std::chrono::seconds patience = std::chrono::minutes(10))
      : thread_([this, patience] { watch(patience); }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void watch(std::chrono::seconds patience) {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, patience, [this] { return done_; })) return;
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::fprintf(stderr, "[  FAILED  ] %s.%s: still running after %lld s\n",
                 test != nullptr ? test->test_suite_name() : "?", test != nullptr ? test->name() : "?",
                 static_cast<long long>(patience.count()));
    std::abort();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace moxie::test

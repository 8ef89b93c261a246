#include "core/thread_pool.h"

#include <gtest/gtest.h>

namespace moxie {
namespace {

TEST(ThreadPool, EveryItemRunsOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t items : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> counts(static_cast<size_t>(items));
      pool.run(items, [&](int64_t item) { counts[static_cast<size_t>(item)].fetch_add(1); });
      for (const auto& count : counts) ASSERT_EQ(count.load(), 1);
    }
  }
}

TEST(ThreadPool, ManyShortLoopsSeeEachOthersResults) {
  ThreadPool pool(3);
  std::vector<int64_t> values(64, 0);
  for (int round = 0; round < 2000; ++round) {
    pool.run(64, [&](int64_t item) { values[static_cast<size_t>(item)] += 1; });
  }
  for (const int64_t value : values) EXPECT_EQ(value, 2000);
}

TEST(ThreadPool, SleepingWorkersWakeUp) {
  ThreadPool pool(2);
  std::atomic<int> total{0};
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool.run(10, [&](int64_t) { total.fetch_add(1); });
  }
  EXPECT_EQ(total.load(), 30);
}

}  // namespace
}  // namespace moxie

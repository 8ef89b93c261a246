#include "core/memory_bandwidth.h"

#include <gtest/gtest.h>

namespace moxie {
namespace {

TEST(MemoryBandwidth, IsWithinReason) {
  ThreadPool pool(3);  // parts of unequal size
  const auto bandwidth = measure_read_bandwidth(pool, 20 << 20, 2);
  ASSERT_TRUE(bandwidth.ok()) << bandwidth.error().message;
  EXPECT_GT(*bandwidth, 0);     // how slow it is depends on who else computes
  EXPECT_LT(*bandwidth, 1e14);  // faster than any memory: the loop was dropped
}

}  // namespace
}  // namespace moxie

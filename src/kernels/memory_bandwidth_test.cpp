#include "kernels/memory_bandwidth.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/select.h"

namespace moxie {
namespace {

TEST(MemoryBandwidth, IsWithinReason) {
  ThreadPool pool(3);  // parts of unequal size
  const Kernels& kernels = *select_cpu_target().value()->kernels;
  const auto bandwidth = measure_read_bandwidth(pool, kernels, 20 << 20, 2);
  ASSERT_TRUE(bandwidth.ok()) << bandwidth.error().message;
  EXPECT_GT(*bandwidth, 0);     // how slow it is depends on who else computes
  EXPECT_LT(*bandwidth, 1e14);  // faster than any memory: the loop was dropped
  const auto passes = measure_read_passes(pool, kernels, 8 << 20, 4);
  ASSERT_TRUE(passes.ok()) << passes.error().message;
  EXPECT_EQ(passes->size(), 4u);
  EXPECT_TRUE(std::is_sorted(passes->begin(), passes->end()));
}

}  // namespace
}  // namespace moxie

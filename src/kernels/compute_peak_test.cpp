#include "kernels/compute_peak.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/select.h"

namespace moxie {
namespace {

TEST(ComputePeak, IsWithinReasonOnEveryTarget) {
  ThreadPool pool(2);
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    SCOPED_TRACE(target.name);
    const ComputePeak peak = measure_compute_peak(pool, *target.kernels, 3);
    for (const auto* rates : {&peak.int8_products, &peak.float_products, &peak.bf16_products}) {
      ASSERT_EQ(rates->size(), 3u);
      EXPECT_TRUE(std::is_sorted(rates->begin(), rates->end()));
      EXPECT_GT(rates->front(), 1e6);  // slower than any processor, even under a sanitizer
      EXPECT_LT(rates->back(), 1e14);  // faster than any: the loop was dropped
    }
  }
}

}  // namespace
}  // namespace moxie

#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/paths.h"

namespace moxie {
namespace {

const std::string kDemo = source_dir() + "/models/demo";

WeightFiles demo() {
  auto files = open_weights(kDemo);
  EXPECT_TRUE(files.ok()) << files.error().message;
  return std::move(files).value();
}

TEST(MemoryPlan, HitRatesLieBetweenUniformRoutingAndOne) {
  for (const int experts : {4, 8, 16, 64, 128, 512}) {
    for (const int used : {1, 2, 8}) {
      EXPECT_EQ(expected_hit_rate(0, experts, used), 0);
      EXPECT_EQ(expected_hit_rate(experts, experts, used), 1);
      double before = 0;
      for (int kept = 1; kept < experts; ++kept) {
        const double rate = expected_hit_rate(kept, experts, used);
        EXPECT_GE(rate, static_cast<double>(kept) / experts - 1e-12) << kept << " of " << experts;
        EXPECT_GT(rate, before);
        EXPECT_LT(rate, 1);
        before = rate;
      }
    }
  }
  EXPECT_DOUBLE_EQ(expected_hit_rate(4, 8, 2), 0.58);
  // A recorded trace of 32 experts, 4 used, had 0.642 with 8 slots and 0.882 with 16; of 128, 8 used, 0.611 to 0.645
  // with 16.
  EXPECT_NEAR(expected_hit_rate(8, 32, 4), 0.64, 0.1);
  EXPECT_NEAR(expected_hit_rate(16, 32, 4), 0.88, 0.1);
}

TEST(MemoryPlan, BoundIsTheSlowerOfDiskAndMemory) {
  PlanRow row;
  row.disk_bytes_per_token = 2e9;
  EXPECT_DOUBLE_EQ(row.tokens_per_second_bound(1e9, 20e9, 7'000'000'000), 0.5);
  EXPECT_DOUBLE_EQ(row.tokens_per_second_bound(10e9, 20e9, 7'000'000'000), 20.0 / 7);
  row.disk_bytes_per_token = 0;
  EXPECT_DOUBLE_EQ(row.tokens_per_second_bound(1e9, 20e9, 10'000'000'000), 2);
}

TEST(MemoryPlan, LadderGoesFromTheMinimumToEverything) {
  const auto plan = plan_memory(demo(), {.memory = "1T"}, {});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->context_tokens, 2048);  // as trained
  ASSERT_EQ(plan->ladder.size(), 8u);     // minimum, 2 to 7 of 8, all
  EXPECT_EQ(plan->ladder.front().name, "minimum");
  EXPECT_EQ(plan->ladder.back().name, "all resident");
  EXPECT_TRUE(plan->ladder.back().chosen);
  for (size_t i = 1; i < plan->ladder.size(); ++i) {
    const PlanRow &less = plan->ladder[i - 1], &more = plan->ladder[i];
    EXPECT_LT(less.ledger.total_bytes(), more.ledger.total_bytes());
    EXPECT_LT(less.hit_rate, more.hit_rate);
    EXPECT_GT(less.disk_bytes_per_token, more.disk_bytes_per_token);
  }
  // With nothing kept a token reads both of its experts in all four layers: 3 x 256 x 512 weights of two bytes each.
  EXPECT_DOUBLE_EQ(plan->ladder.front().disk_bytes_per_token, 4 * 2 * 3 * 256 * 512 * 2);
  EXPECT_NEAR(plan->ladder[3].disk_bytes_per_token, (1 - 0.58) * 4 * 2 * 3 * 256 * 512 * 2, 1);
  EXPECT_EQ(plan->ladder.back().disk_bytes_per_token, 0);
  EXPECT_DOUBLE_EQ(plan->ladder[3].uniform_hit_rate, 0.5);
}

TEST(MemoryPlan, AChosenBudgetHasItsRow) {
  const WeightFiles files = demo();
  const auto all = plan_memory(files, {.memory = "1T"}, {});
  ASSERT_TRUE(all.ok());
  const uint64_t between = (all->ladder[2].ledger.total_bytes() + all->ladder[3].ledger.total_bytes()) / 2;
  const auto plan = plan_memory(files, {.memory = std::to_string(between)}, {});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_TRUE(plan->chosen.chosen);
  EXPECT_LE(plan->chosen.ledger.total_bytes(), between);
  EXPECT_GE(plan->chosen.kept_mean, 3);
  EXPECT_LT(plan->chosen.kept_mean, 4);
  ASSERT_EQ(plan->ladder.size(), 9u);
  int chosen = 0;
  for (const PlanRow& row : plan->ladder) chosen += row.chosen;
  EXPECT_EQ(chosen, 1);
}

TEST(MemoryPlan, RefusesWhatIsAskedForAndTooLittle) {
  const WeightFiles files = demo();
  const auto refused = plan_memory(files, {.memory = "2M"}, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  // Where nothing is asked, the table is the answer.
  MemoryInfo small;
  small.total_bytes = small.available_bytes = 4 << 20;
  const auto plan = plan_memory(files, {}, small);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->refused.code, ErrorCode::out_of_memory);
  EXPECT_EQ(plan->ladder.size(), 8u);
  EXPECT_EQ(plan_memory(files, {.memory = "auto"}, small).error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(plan_memory(files, {.memory = "4G", .expert_slots = {2}}, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(plan_memory(files, {.expert_slots = {1}}, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(plan_memory(files, {.expert_slots = {-4}}, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(plan_memory(files, {.cache_type = "q3"}, {}).error().code, ErrorCode::invalid_argument);
}

TEST(MemoryPlan, SlotsAsAsked) {
  const auto plan = plan_memory(demo(), {.expert_slots = {2, 4, 8}}, {});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(plan->ladder.size(), 3u);
  EXPECT_EQ(plan->ladder[0].kept_min, 2);
  EXPECT_EQ(plan->ladder[1].kept_max, 4);
  EXPECT_TRUE(plan->ladder[2].ledger.pool.complete);
  EXPECT_TRUE(plan->ladder[0].chosen);
}

TEST(MemoryPlan, HitRatesFromATrace) {
  // Four layers that use experts 0 and 1 for ever, but for layer 3, which goes round all eight.
  const std::string path = testing::TempDir() + "/memory_plan_trace.txt";
  {
    std::ofstream out(path);
    out << "# moxie-trace 1 layers=4 experts=8 top_k=2\n";
    for (int step = 0; step < 100; ++step) {
      for (int layer = 0; layer < 3; ++layer) out << step << "\td\t" << layer << "\t0,1\n";
      out << step << "\td\t3\t" << 2 * step % 8 << "," << (2 * step + 1) % 8 << "\n";
    }
  }
  const auto plan = plan_memory(demo(), {.expert_slots = {2, 8}, .trace = path, .policy = "lru"}, {});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_DOUBLE_EQ(plan->ladder[0].hit_rate, 3 * 0.99 / 4);  // the first use of a layer misses, and layer 3 always does
  EXPECT_DOUBLE_EQ(plan->ladder[1].hit_rate, 1);
  EXPECT_NE(plan->hit_rates.find("measured"), std::string::npos);
  EXPECT_EQ(plan_memory(demo(), {.trace = path, .policy = "nosuch"}, {}).error().code, ErrorCode::invalid_argument);
  std::ofstream(path) << "# moxie-trace 1 layers=5 experts=8 top_k=2\n0\td\t0\t0,1\n";
  EXPECT_EQ(plan_memory(demo(), {.trace = path}, {}).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace moxie

#include "store/slot_layout.h"

#include <gtest/gtest.h>

#include <numeric>

namespace moxie {
namespace {

constexpr uint64_t kBlock = 4096;

TEST(SlotShape, KeepsEachOffsetWithinItsBlock) {
  const ExpertRanges ranges = {{{{0, 1000032, 5000}, {0, 9000064, 5000}, {1, 77, 9000}}}};
  const SlotShape shape = shape_slot(ranges, kBlock);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(shape.at[i] % kBlock, ranges[i].offset % kBlock) << i;
  // Whole blocks around one projection do not touch those of another.
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_GE(shape.at[i] / kBlock * kBlock, (shape.at[i - 1] + ranges[i - 1].bytes + kBlock - 1) / kBlock * kBlock);
  }
  EXPECT_EQ(shape.bytes % kBlock, 0u);
  EXPECT_GE(shape.bytes, shape.at[2] + ranges[2].bytes);
}

TEST(SlotShape, NeighboursInTheFileAreNeighboursInTheSlot) {
  const SlotShape shape =
      shape_slot({{{{0, 4096 + 32, 5000}, {0, 4096 + 5032, 5000}, {0, 4096 + 10032, 700}}}}, kBlock);
  EXPECT_EQ(std::vector(shape.at.begin(), shape.at.begin() + 3), (std::vector<uint64_t>{32, 5032, 10032}));
  EXPECT_EQ(shape.bytes, 12288u);
}

TEST(SlotShape, WholeHugePagesWhereTheyWasteLittle) {
  const uint64_t large = 99'090'432;  // one expert of Mixtral 8x7B in Q4_K
  EXPECT_EQ(shape_slot({{{{0, 0, large / 3}, {0, 1u << 30, large / 3}, {0, 1u << 31, large / 3}}}}, kBlock).bytes %
                (2u << 20),
            0u);
  EXPECT_LT(shape_slot({{{{0, 0, 1000}, {0, 10000, 1000}, {0, 20000, 1000}}}}, kBlock).bytes, 65536u);
}

std::vector<LayerNeed> mixtral(uint64_t small, uint64_t large) {
  std::vector<LayerNeed> layers(32, LayerNeed{8, small});
  for (size_t i = 0; i < 32; i += 2) layers[i].slot_bytes = large;
  return layers;
}

uint64_t added_up(const PoolLayout& pool) {
  uint64_t sum = 0;
  for (const PoolLayout::Class& group : pool.classes) sum += group.slot_bytes * static_cast<uint64_t>(group.slots);
  return sum;
}

TEST(DividePool, NeverTakesMoreThanGivenAndMoreGivesMore) {
  const auto layers = mixtral(99 << 20, 114 << 20);
  double before = -1;
  for (uint64_t bytes = 228 << 20; bytes < uint64_t{30} << 30; bytes += 97 << 20) {
    const PoolLayout pool = divide_pool(layers, 2, bytes).value();
    EXPECT_LE(pool.bytes, bytes);
    EXPECT_EQ(pool.bytes, added_up(pool));
    EXPECT_GE(pool.kept_per_layer(), before);
    before = pool.kept_per_layer();
    const auto [low, high] = std::minmax_element(pool.kept.begin(), pool.kept.end());
    if (pool.streaming_layers == 0) {
      EXPECT_GE(*low, 2);
    } else {
      EXPECT_LE(*high, 3);
    }
    // A further slot would not have fitted, once one layer has the floor.
    if (!pool.complete && *high > 0) {
      EXPECT_LT(bytes - pool.bytes, uint64_t{114} << 20);
    }
  }
  EXPECT_EQ(before, 8);
}

TEST(DividePool, WhatIsLessThanAFloorGoesToLayersThatHaveOne) {
  const std::vector<LayerNeed> layers(6, LayerNeed{128, 1000});
  // 8 in transit, the floor of 8 for two layers, and 7 more.
  const PoolLayout pool = divide_pool(layers, 8, 31'999).value();
  EXPECT_EQ(pool.kept, (std::vector<int>{11, 12, 0, 0, 0, 0}));
  EXPECT_EQ(pool.streaming_layers, 4);
  EXPECT_EQ(pool.bytes, 31'000u);
  // The eighth more is a floor.
  EXPECT_EQ(divide_pool(layers, 8, 32'000).value().kept, (std::vector<int>{8, 8, 8, 0, 0, 0}));
  // Nobody has a floor: what is left serves nobody.
  EXPECT_EQ(divide_pool(layers, 8, 15'999).value().bytes, 8'000u);
}

TEST(DividePool, TheMinimumIsWhatOneTokenUses) {
  const auto layers = mixtral(100, 120);
  EXPECT_EQ(minimum_pool_bytes(layers, 2), 240u);
  const PoolLayout pool = divide_pool(layers, 2, 240).value();
  EXPECT_EQ(pool.streaming_layers, 32);
  EXPECT_EQ(pool.classes.size(), 1u);
  EXPECT_EQ(divide_pool(layers, 2, 239).error().code, ErrorCode::out_of_memory);
}

TEST(DividePool, ACompletePoolNeedsNoTransit) {
  const auto layers = mixtral(100, 120);
  const uint64_t everything = 16 * 8 * 220;
  const PoolLayout pool = divide_pool(layers, 2, everything).value();
  EXPECT_TRUE(pool.complete);
  EXPECT_EQ(pool.transit, 0);
  EXPECT_EQ(pool.bytes, everything);
}

TEST(DividePool, LayersWithoutAMixtureGetNothing) {
  std::vector<LayerNeed> layers(4, LayerNeed{64, 1000});
  layers[0] = {};
  const PoolLayout pool = divide_pool(layers, 8, 8000 + 3 * 10 * 1000).value();
  EXPECT_EQ(pool.class_of[0], -1);
  EXPECT_EQ(pool.kept, (std::vector<int>{0, 10, 10, 10}));
  EXPECT_EQ(pool.transit, 8);
}

TEST(FixedPool, KeepsWhatIsAskedFor) {
  const auto layers = mixtral(100, 120);
  const PoolLayout pool = fixed_pool(layers, 2, 3).value();
  EXPECT_EQ(std::accumulate(pool.kept.begin(), pool.kept.end(), 0), 96);
  EXPECT_EQ(pool.bytes, 16u * 3 * 220 + 2 * 220);
  EXPECT_TRUE(fixed_pool(layers, 2, 8).value().complete);
  EXPECT_EQ(fixed_pool(layers, 2, 0).value().streaming_layers, 32);
  EXPECT_EQ(fixed_pool(layers, 2, 1).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace moxie

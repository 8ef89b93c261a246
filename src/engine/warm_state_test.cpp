#include "engine/warm_state.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/folder.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

const ModelIdentity kSavedModel = {
    .name = "it's \"small\"", .fingerprint = "0123456789abcdef", .layers = 3, .experts = 4, .used = 2};

const std::vector<KnownExpert> kKnown = {
    {.layer = 0, .id = 1, .count = 2.5, .age = 3, .resident = true},
    {.layer = 0, .id = 3, .count = 1e-4, .age = 900, .resident = false},
    {.layer = 2, .id = 0, .count = 17, .age = 0, .resident = true},
};

std::string with_known(const std::string& entries) {
  return R"({"moxie_warm_state":1,"model":"m","fingerprint":"0123456789abcdef","policy":"lru","known":[)" + entries +
         "]}";
}

TEST(WarmState, ComesBackAsItWas) {
  const auto back = parse_warm_state(warm_state_text(kSavedModel, default_policy(), kKnown), "state", kSavedModel);
  ASSERT_TRUE(back.ok()) << back.error().message;
  ASSERT_EQ(back->size(), kKnown.size());
  for (size_t i = 0; i < kKnown.size(); ++i) {
    EXPECT_EQ((*back)[i].layer, kKnown[i].layer);
    EXPECT_EQ((*back)[i].id, kKnown[i].id);
    EXPECT_DOUBLE_EQ((*back)[i].count, kKnown[i].count);
    EXPECT_EQ((*back)[i].age, kKnown[i].age);
    EXPECT_EQ((*back)[i].resident, kKnown[i].resident);
  }
  EXPECT_TRUE(parse_warm_state(with_known(""), "state", kSavedModel)->empty());
}

TEST(WarmState, AnotherModelsIsRefusedByName) {
  ModelIdentity other = kSavedModel;
  other.name = "large.gguf";
  other.fingerprint = "fedcba9876543210";
  const auto refused = parse_warm_state(warm_state_text(kSavedModel, default_policy(), kKnown), "state", other);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  for (const char* part : {"state", "it's \"small\"", "large.gguf", "0123456789abcdef", "fedcba9876543210"}) {
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << part << " in " << refused.error().message;
  }
}

TEST(WarmState, NumbersThatNoneCanHaveAreRefused) {
  for (const char* entry : {
           "[3,0,1,1,1]",  // no such layer
           "[0,4,1,1,1]",  // no such expert
           "[-1,0,1,1,1]",
           "[0,-1,1,1,1]",
           "[0,0,-1,1,1]",
           "[0,0,1,-1,1]",
           "[0,0,1,1,2]",
           "[0,0,1,1]",
           "[0,0,1,1,1,1]",
           "[0.5,0,1,1,1]",
           "[0,0,\"1\",1,1]",
           "[0,0,null,1,1]",
           "7",
           "{}",
           "[]",
           "[0,0,1e16,1,1]",                  // counts of centuries
           "[0,0,1,9223372036854775807,1]",   // would overflow
           "[0,0,1,18446744073709551615,1]",  // no int64
           "[0,0,1e999,1,1]",                 // no double
           "[0,0,NaN,1,1]",                   // no JSON
           "[4294967296,0,1,1,1]",            // 0 in 32 bits
       }) {
    const auto refused = parse_warm_state(with_known(entry), "state", kSavedModel);
    ASSERT_FALSE(refused.ok()) << entry;
    EXPECT_EQ(refused.error().code, ErrorCode::corrupt) << entry;
    EXPECT_EQ(refused.error().message.find("state"), 0u) << refused.error().message;
  }
}

TEST(WarmState, WhatIsNoStateIsRefused) {
  for (const char* text : {"", "{", "null", "[]", "{}", "{\"moxie_warm_state\":2,\"known\":[]}",
                           "{\"moxie_warm_state\":1,\"known\":7,\"fingerprint\":\"0123456789abcdef\"}"}) {
    EXPECT_EQ(parse_warm_state(text, "state", kSavedModel).error().code, ErrorCode::corrupt) << text;
  }
  // Larger than any state of this model: not even looked at.
  EXPECT_FALSE(parse_warm_state(with_known("") + std::string(1 << 20, ' '), "state", kSavedModel).ok());
}

TEST(WarmState, TheBestComeFirstWhateverTheBudgetWas) {
  const std::vector<KnownExpert> known = {
      {.layer = 1, .id = 0, .count = 1, .age = 0, .resident = false},
      {.layer = 0, .id = 0, .count = 9, .age = 1, .resident = false},
      {.layer = 0, .id = 1, .count = 5, .age = 1, .resident = true},
      {.layer = 0, .id = 2, .count = 7, .age = 1, .resident = true},
      {.layer = 0, .id = 3, .count = 8, .age = 60, .resident = false},
      {.layer = 1, .id = 1, .count = 0, .age = 5, .resident = true},
  };
  std::vector<std::pair<int, int>> order;
  for (const KnownExpert& e : best_first(known, *find_policy("lfru"))) {
    order.emplace_back(e.layer, e.id);
    EXPECT_EQ(e.resident, e.count > 0);
  }
  EXPECT_EQ(order, (std::vector<std::pair<int, int>>{{0, 2}, {0, 1}, {0, 0}, {0, 3}, {1, 1}, {1, 0}}));
}

TEST(WarmState, CountsOfASlowerPolicyFitIntoAFasterOne) {
  const PolicyEntry& fades = *find_policy("lfru");
  const double highest = highest_count(fades);
  EXPECT_NEAR(highest, 92.8, 0.1);  // 1 / (1 - 2^(-1/64))
  const auto scaled = best_first({{.count = 1e6}, {.id = 1, .count = 5e5}}, fades);
  EXPECT_DOUBLE_EQ(scaled[0].count, highest);
  EXPECT_DOUBLE_EQ(scaled[1].count, highest / 2);
  EXPECT_DOUBLE_EQ(best_first({{.count = 1e6}}, *find_policy("lfu"))[0].count, 1e6);
}

TEST(WarmStart, WritesOneSmallFilePerModel) {
  const std::string folder = (fs::path(::testing::TempDir()) / "moxie-warm-start").string();
  fs::remove_all(folder);
  WarmStart warm(folder, kSavedModel, default_policy(), {});
  EXPECT_TRUE(warm.read()->empty());
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_FALSE(warm.is_stale());
  EXPECT_FALSE(warm.is_due());  // not yet, but there is a step to save
  EXPECT_TRUE(warm.is_stale());
  ASSERT_TRUE(warm.save(kKnown).ok());
  EXPECT_FALSE(warm.is_stale());
  EXPECT_EQ(warm.read()->size(), kKnown.size());
  EXPECT_EQ(list_files(parent_folder(warm.path())).value().size(), 1u);
  EXPECT_LT(fs::file_size(warm.path()), 300u);

  fs::remove_all(folder);
  std::ofstream(folder) << "a file";
  EXPECT_EQ(warm.save(kKnown).error().code, ErrorCode::io);
  fs::remove(folder);
}

WarmStart::Clock::time_point clock_of_the_test;

TEST(WarmStart, IsDueEveryThreeMinutes) {
  using namespace std::chrono_literals;
  const std::string folder = (fs::path(::testing::TempDir()) / "moxie-warm-pace").string();
  fs::remove_all(folder);
  WarmStart warm(folder, kSavedModel, default_policy(), {.now = [] { return clock_of_the_test; }});
  clock_of_the_test += 2min + 59s;
  EXPECT_FALSE(warm.is_due());
  clock_of_the_test += 1s;
  EXPECT_TRUE(warm.is_due());
  ASSERT_TRUE(warm.save(kKnown).ok());
  EXPECT_FALSE(warm.is_due());
  clock_of_the_test += 3min - 1ns;
  EXPECT_FALSE(warm.is_due());
  clock_of_the_test += 1ns;
  EXPECT_TRUE(warm.is_due());
  // A save that fails is not tried again sooner than one that works.
  fs::remove_all(folder);
  std::ofstream(folder) << "a file";
  EXPECT_FALSE(warm.save(kKnown).ok());
  EXPECT_FALSE(warm.is_due());
  clock_of_the_test += 3min;
  EXPECT_TRUE(warm.is_due());
  fs::remove(folder);
}

}  // namespace
}  // namespace moxie

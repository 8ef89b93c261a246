#include "engine/expert_profile.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace moxie {
namespace {

const ModelIdentity kModel = {
    .name = "small.gguf", .fingerprint = "0123456789abcdef", .layers = 3, .experts = 4, .used = 2};

// Layer 1 is dense.
const ExpertProfile kProfile = {.model = "small.gguf",
                                .fingerprint = "0123456789abcdef",
                                .tokens = 10,
                                .experts_used = 2,
                                .uses = {{1, 9, 5, 5}, {}, {10, 0, 0, 10}},
                                .mass = {{0.25, 5, 2, 2.75}, {}, {4, 0, 0, 6}}};
const std::vector<bool> kMixtures = {true, false, true};

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), by);
}

TEST(ExpertProfile, ComesBackAsItWas) {
  const auto back = parse_profile(profile_text(kProfile), "p.json", kModel);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->tokens, 10);
  EXPECT_EQ(back->uses, kProfile.uses);
  EXPECT_EQ(back->mass, kProfile.mass);
  EXPECT_FALSE(back->router_only);
}

TEST(ExpertProfile, RanksByUsesThenByMass) {
  EXPECT_EQ(kProfile.ranked(0), (std::vector<int32_t>{1, 3, 2, 0}));
  EXPECT_EQ(kProfile.ranked(2), (std::vector<int32_t>{3, 0, 1, 2}));
  EXPECT_TRUE(kProfile.ranked(1).empty());
  EXPECT_DOUBLE_EQ(kProfile.share_of_top(0, 2), 0.7);
  EXPECT_DOUBLE_EQ(kProfile.share_of_top(2, 9), 1);
  EXPECT_DOUBLE_EQ(kProfile.share_of_top(1, 1), 0);
}

TEST(ExpertProfile, WhatContradictsItselfIsRefused) {
  const std::string text = profile_text(kProfile);
  const std::pair<std::string, std::string> changes[] = {
      {"\"moxie_profile\":1", "\"moxie_profile\":2"},
      {"exact", "guessed"},
      {"\"tokens\":10", "\"tokens\":0"},
      {"\"tokens\":10", "\"tokens\":-3"},
      {"\"tokens\":10", "\"tokens\":1e300"},
      {"\"tokens\":10", "\"token\":10"},
      {"[1,9,5,5]", "[1,11,5,5]"},  // more uses than tokens
      {"[1,9,5,5]", "[1,-9,5,5]"},
      {"[1,9,5,5]", "[1,18446744073709551615,5,5]"},
      {"[1,9,5,5]", "[1,9,5]"},
      {"[1,9,5,5]", "[1,9,5,5,5]"},
      {"[1,9,5,5]", "9"},
      {"[1,9,5,5]", "[]"},  // unlike the masses
      {"0.2500", "1e6"},
      {"0.2500", "-0.25"},
      {"0.2500", "1e999"},
      {"0.2500", "\"x\""},
      {"[],\n", ""},  // two layers
  };
  for (const auto& [what, by] : changes) {
    const auto refused = parse_profile(replaced(text, what, by), "p.json", kModel);
    ASSERT_FALSE(refused.ok()) << what << " -> " << by;
    EXPECT_EQ(refused.error().code, ErrorCode::corrupt) << what << " -> " << by;
    EXPECT_EQ(refused.error().message.find("p.json"), 0u) << refused.error().message;
  }
  const auto other = parse_profile(replaced(text, "0123456789abcdef", "fedcba9876543210"), "p.json", kModel);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(other.error().message.find("another model, 'small.gguf' (fedcba9876543210)"), std::string::npos);
}

TEST(ExpertProfile, AHigherShareIsAHigherCountAndAYoungerUse) {
  for (const char* name : {"lfru", "lfu", "lru", "lcp"}) {
    const auto known = known_from(kProfile, *find_policy(name));
    ASSERT_EQ(known.size(), 6u) << name;  // those that were used
    EXPECT_EQ(known[0].id, 0);
    EXPECT_EQ(known[0].age, 10);
    EXPECT_EQ(known[1].age, 1);
    EXPECT_NEAR(known[1].count / known[0].count, 9, 1e-9);
    EXPECT_EQ(known[4].layer, 2);
    EXPECT_LE(known[4].count, 256);
  }
}

TEST(Pins, AListNamesExperts) {
  const auto pins = read_pins("2:3,0:1,0:0,2:3", 1, kModel, kMixtures);
  ASSERT_TRUE(pins.ok()) << pins.error().message;
  EXPECT_FALSE(pins->profile.has_value());
  std::vector<std::pair<int, int>> all;
  for (const KnownExpert& pin : pins->pins) all.emplace_back(pin.layer, pin.id);
  EXPECT_EQ(all, (std::vector<std::pair<int, int>>{{0, 0}, {0, 1}, {2, 3}}));
}

TEST(Pins, AListIsCheckedAgainstTheModel) {
  const std::pair<const char*, const char*> cases[] = {
      {"3:0", "there is no layer 3; 'small.gguf' has layers 0 to 2"},
      {"-1:0", "there is no layer -1"},
      {"0:4", "there is no expert 4; a layer of 'small.gguf' has experts 0 to 3"},
      {"0:-1", "there is no expert -1"},
      {"1:0", "layer 1 of 'small.gguf' has no experts"},
      {"0:1,,0:2", "pin '' is no layer:expert"},
      {"0:1:2", "pin '0:1:2' is no layer:expert"},
      {"3", "pin '3' is no layer:expert"},
      {"0:99999999999", "pin '0:99999999999' is no layer:expert"},
  };
  for (const auto& [text, message] : cases) {
    const auto refused = read_pins(text, 1, kModel, kMixtures);
    ASSERT_FALSE(refused.ok()) << text;
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(refused.error().message.find(message), std::string::npos) << refused.error().message;
  }
  EXPECT_FALSE(read_pins("0:0", 1, {.name = "dense", .layers = 3}, {false, false, false}).ok());
}

TEST(Pins, AProfileGivesItsMostUsed) {
  const std::string path = (std::filesystem::path(::testing::TempDir()) / "moxie-pins.json").string();
  std::ofstream(path) << profile_text(kProfile);
  const auto pins = read_pins(path, 2, kModel, kMixtures);
  ASSERT_TRUE(pins.ok()) << pins.error().message;
  ASSERT_TRUE(pins->profile.has_value());
  std::vector<std::pair<int, int>> all;
  for (const KnownExpert& pin : pins->pins) all.emplace_back(pin.layer, pin.id);
  EXPECT_EQ(all, (std::vector<std::pair<int, int>>{{0, 1}, {0, 3}, {2, 3}, {2, 0}}));
  EXPECT_TRUE(read_pins(path, 0, kModel, kMixtures)->pins.empty());
  EXPECT_EQ(read_pins(path, 5, kModel, kMixtures).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(read_pins(path, -1, kModel, kMixtures).error().code, ErrorCode::invalid_argument);
  std::filesystem::remove(path);
  EXPECT_EQ(read_pins(path, 2, kModel, kMixtures).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace moxie

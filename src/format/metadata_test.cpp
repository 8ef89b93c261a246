#include "format/metadata.h"

#include <gtest/gtest.h>

namespace moxie {
namespace {

Metadata sample() {
  Metadata m;
  m.set("yes", true);
  m.set("one", int64_t{1});
  m.set("many", int64_t{7});
  m.set("huge", UINT64_MAX);
  m.set("half", 0.5);
  m.set("word", std::string("w"));
  m.set("flags", std::vector<bool>{true, false});
  m.set("wholes", std::vector<int64_t>{1, 2});
  m.set("reals", std::vector<double>{0.5});
  m.set("words", std::vector<std::string>{"a"});
  m.set("empty", std::vector<int64_t>{});
  return m;
}

TEST(Metadata, GivesWhatFitsTheKind) {
  const Metadata m = sample();
  EXPECT_EQ(m.integer("many"), 7);
  EXPECT_EQ(m.integer("huge"), std::nullopt);
  EXPECT_EQ(m.integer("half"), std::nullopt);
  EXPECT_EQ(m.integer("yes"), std::nullopt);
  EXPECT_EQ(m.integer("absent"), std::nullopt);
  EXPECT_EQ(m.number("many"), 7.0);
  EXPECT_EQ(m.number("half"), 0.5);
  EXPECT_EQ(m.number("huge"), 18446744073709551615.0);
  EXPECT_EQ(m.number("word"), std::nullopt);
  EXPECT_EQ(m.boolean("yes"), true);
  EXPECT_EQ(m.boolean("one"), true);
  EXPECT_EQ(m.boolean("many"), std::nullopt);
  EXPECT_EQ(m.text("word"), "w");
  EXPECT_EQ(m.text("many"), std::nullopt);
}

TEST(Metadata, GivesListsAlsoOfScalars) {
  const Metadata m = sample();
  EXPECT_EQ(m.integers("wholes"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(m.integers("flags"), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(m.integers("many"), std::vector<int64_t>{7});
  EXPECT_EQ(m.integers("yes"), std::vector<int64_t>{1});
  EXPECT_EQ(m.integers("reals"), std::nullopt);
  EXPECT_EQ(m.numbers("wholes"), (std::vector<double>{1, 2}));
  EXPECT_EQ(m.numbers("reals"), std::vector<double>{0.5});
  EXPECT_EQ(m.numbers("half"), std::vector<double>{0.5});
  EXPECT_EQ(m.texts("words"), std::vector<std::string>{"a"});
  EXPECT_EQ(m.texts("empty"), std::vector<std::string>{});
  EXPECT_EQ(m.texts("wholes"), std::nullopt);
}

TEST(Metadata, ASecondValueReplacesTheFirst) {
  Metadata m = sample();
  m.set("word", int64_t{3});
  EXPECT_EQ(m.integer("word"), 3);
  EXPECT_TRUE(m.has("word"));
  EXPECT_FALSE(m.has("absent"));
}

}  // namespace
}  // namespace moxie

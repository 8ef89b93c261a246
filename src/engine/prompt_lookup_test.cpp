#include "engine/prompt_lookup.h"

#include <gtest/gtest.h>

#include <vector>

namespace moxie {
namespace {

std::vector<int32_t> guess(const std::vector<int32_t>& ids, int64_t most) {
  const auto found = look_up(ids, most);
  return {found.begin(), found.end()};
}

TEST(PromptLookup, GoesOnAsTheLatestEarlierPlaceDid) {
  EXPECT_EQ(guess({1, 2, 3, 4, 9, 1, 2}, 3), (std::vector<int32_t>{3, 4, 9}));
  EXPECT_EQ(guess({1, 2, 7, 1, 2, 8, 1, 2}, 1), (std::vector<int32_t>{8}));
  // A longer match counts more than a later one.
  EXPECT_EQ(guess({5, 1, 2, 7, 6, 1, 2, 8, 5, 1, 2}, 1), (std::vector<int32_t>{7}));
  // It may overlap with what it goes on from.
  EXPECT_EQ(guess({4, 4, 4}, 5), (std::vector<int32_t>{4}));
}

TEST(PromptLookup, GuessesNothingWithoutAMatch) {
  EXPECT_TRUE(guess({}, 4).empty());
  EXPECT_TRUE(guess({1}, 4).empty());
  EXPECT_TRUE(guess({1, 2}, 4).empty());
  EXPECT_TRUE(guess({1, 2, 3, 2}, 4).empty());  // one token is not enough
  EXPECT_TRUE(guess({1, 2, 3, 1, 2}, 0).empty());
}

TEST(PromptLookup, GuessesFewerAfterAWrongOne) {
  DraftLength draft(8);
  EXPECT_EQ(draft.length(), 8);
  draft.learn(8, 3);
  EXPECT_EQ(draft.length(), 3);
  draft.learn(3, 0);
  EXPECT_EQ(draft.length(), 1);
  draft.learn(1, 1);
  draft.learn(2, 2);
  draft.learn(4, 4);
  draft.learn(8, 8);
  EXPECT_EQ(draft.length(), 8);
  draft.learn(0, 0);
  EXPECT_EQ(draft.length(), 8);
}

}  // namespace
}  // namespace moxie

#include "core/edit_distance.h"

#include <gtest/gtest.h>

#include <vector>

namespace moxie {
namespace {

TEST(EditDistance, CountsLetters) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("flaw", "lawn"), 2);
  EXPECT_EQ(edit_distance("sitting", "kitten"), edit_distance("kitten", "sitting"));
}

TEST(EditDistance, NumbersAreDearerThanLetters) {
  EXPECT_EQ(edit_distance("blk.1.w", "blk.1.w"), 0);
  EXPECT_GT(edit_distance("blk.1.w", "blk.2.w"), edit_distance("blk.1.w", "blk.1.ww"));
  EXPECT_EQ(edit_distance("blk.1.w", "blk.2.w"), edit_distance("blk.1.w", "blk.29.w"));  // a number is one letter
}

TEST(NearestName, StaysInTheLayer) {
  const std::vector<std::string_view> names = {"blk.0.ffn_down.weight", "blk.3.ffn_donw.weight",
                                               "blk.30.ffn_down.weight", "blk.3.attn_q.weight"};
  EXPECT_EQ(nearest_name("blk.3.ffn_down.weight", names), "blk.3.ffn_donw.weight");
}

TEST(NearestName, FindsTheOtherLayoutOfExperts) {
  const std::vector<std::string_view> names = {"blk.0.ffn_down.0.weight", "blk.1.ffn_gate_inp.weight",
                                               "blk.0.attn_norm.weight"};
  EXPECT_EQ(nearest_name("blk.0.ffn_down_exps.weight", names), "blk.0.ffn_down.0.weight");
}

TEST(NearestName, OfEqualsTakesTheOneThatBeginsAlike) {
  const std::vector<std::string_view> names = {"xb", "ay"};
  EXPECT_EQ(nearest_name("ab", names), "ay");
}

TEST(NearestName, IsSilentWhenNothingIsNear) {
  const std::vector<std::string_view> names = {"lm_head.weight", "model.norm.weight"};
  EXPECT_EQ(nearest_name("blk.0.ffn_down_exps.weight", names), "");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace moxie

#include "model/blocks/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace moxie {
namespace {

TEST(Router, TakesTheLargestAndBreaksTiesByTheLowerId) {
  const std::vector<float> p = {0.1f, 0.3f, 0.3f, 0.05f, 0.25f};
  int32_t ids[3];
  float weights[3];
  choose_experts(p, {.experts = 5, .used = 3, .normalise = false}, ids, weights);
  EXPECT_EQ(std::vector(ids, ids + 3), (std::vector<int32_t>{1, 2, 4}));
  EXPECT_FLOAT_EQ(weights[2], 0.25f);
}

TEST(Router, NormalisedWeightsEqualTheSoftmaxOverTheChosen) {
  const std::vector<double> logits = {0.5, -1.0, 2.0, 1.5, 0.0};
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit);
  std::vector<float> p;
  for (const double logit : logits) p.push_back(static_cast<float>(std::exp(logit) / sum));
  int32_t ids[2];
  float weights[2];
  choose_experts(p, {.experts = 5, .used = 2, .normalise = true}, ids, weights);
  EXPECT_EQ(ids[0], 2);
  EXPECT_EQ(ids[1], 3);
  EXPECT_NEAR(weights[0], std::exp(2.0) / (std::exp(2.0) + std::exp(1.5)), 1e-6);
  EXPECT_NEAR(weights[0] + weights[1], 1.0, 1e-6);
}

TEST(Router, StaysInBoundsWhateverTheScores) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& p : {std::vector<float>{nan, nan, nan, nan}, {0, 0, 0, 0}, {1, nan, 0.5f, nan}}) {
    int32_t ids[4] = {-1, -1, -1, -1};
    float weights[4];
    choose_experts(p, {.experts = 4, .used = 4, .normalise = true}, ids, weights);
    const std::set<int32_t> distinct(ids, ids + 4);
    EXPECT_EQ(distinct, (std::set<int32_t>{0, 1, 2, 3}));
  }
}

}  // namespace
}  // namespace moxie

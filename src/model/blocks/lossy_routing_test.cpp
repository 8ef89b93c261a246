#include "model/blocks/lossy_routing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "model/blocks/router.h"

namespace moxie {
namespace {

// Has the experts it is told; gives no leases.
class SomeExperts final : public ExpertStore {
 public:
  explicit SomeExperts(std::set<int32_t> ready) : ready_(std::move(ready)) {}
  Result<ExpertLease> lease(const ExpertRequest& request) override { return ExpertLease(*this, request); }
  int64_t look_ahead(int64_t, std::span<const int32_t>, Guess) override { return 0; }
  bool wants_look_ahead(Guess) const override { return false; }
  Presence presence(int64_t, int32_t id) const override {
    return ready_.contains(id) ? Presence::ready : Presence::reading;
  }

 private:
  Result<size_t> wait(ExpertLease& lease, size_t first) override { return lease.size() - first; }
  Result<void> wait_down(ExpertLease&, size_t, size_t) override { return {}; }
  const ExpertView& view(int64_t, int32_t) const override { return view_; }
  void release(ExpertLease&, size_t) override {}
  std::set<int32_t> ready_;
  ExpertView view_;
};

class LossyRoutingTest : public ::testing::Test {
 protected:
  // Applies `options` to a token with these logits while `ready` are in memory.
  void apply(const EngineOptions& options, std::vector<double> logits, std::set<int32_t> ready, int64_t used = 2,
             bool normalise = true) {
    if (routing_ == nullptr) routing_ = LossyRouting::create(options).value();
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit);
    std::vector<float> p;
    for (const double logit : logits) p.push_back(static_cast<float>(std::exp(logit) / sum));
    const RouterOptions router = {.experts = static_cast<int64_t>(p.size()), .used = used, .normalise = normalise};
    ids_.resize(static_cast<size_t>(used));
    weights_.resize(static_cast<size_t>(used));
    choose_experts(p, router, ids_.data(), weights_.data());
    exact_ = weights_;
    const int64_t left = routing_->apply(SomeExperts(std::move(ready)), 0, p, router, ids_.data(), weights_.data());
    ASSERT_GE(left, 1);
    ASSERT_LE(left, used);
    ids_.resize(static_cast<size_t>(left));
    weights_.resize(static_cast<size_t>(left));
  }
  double weight() const { return std::accumulate(weights_.begin(), weights_.end(), 0.0); }

  std::unique_ptr<LossyRouting> routing_;
  std::vector<int32_t> ids_;
  std::vector<float> weights_, exact_;
};

using Ids = std::vector<int32_t>;

TEST_F(LossyRoutingTest, SkipMissingKeepsWhatIsInMemory) {
  apply({.skip_missing = true}, {2, 1, 0, -1}, {1, 3});
  EXPECT_EQ(ids_, (Ids{1}));
  EXPECT_FLOAT_EQ(weights_[0], 1);
  EXPECT_EQ(Ids(routing_->skipped().begin(), routing_->skipped().end()), (Ids{0}));
  EXPECT_EQ(routing_->total().changed, 1u);
  EXPECT_NEAR(routing_->total().weight, std::exp(1.0) / (1 + std::exp(1.0)), 1e-6);
  EXPECT_EQ(routing_->choices(), 2u);
}

TEST_F(LossyRoutingTest, SkipMissingReadsTheHeaviestWhereNoneIsInMemory) {
  apply({.skip_missing = true}, {0, 3, 1, 2}, {0}, 3);
  EXPECT_EQ(ids_, (Ids{1}));
  EXPECT_EQ(Ids(routing_->skipped().begin(), routing_->skipped().end()), (Ids{3, 2}));
}

TEST_F(LossyRoutingTest, WeightsThatAreNotNormalisedKeepTheirSum) {
  apply({.skip_missing = true}, {2, 1, 0, 0}, {0, 2}, 3, false);
  EXPECT_EQ(ids_, (Ids{0, 2}));
  EXPECT_NEAR(weight(), exact_[0] + exact_[1] + exact_[2], 1e-6);
  EXPECT_NEAR(weights_[0] / weights_[1], exact_[0] / exact_[2], 1e-5);
}

TEST_F(LossyRoutingTest, CachePriorExchangesWhenTheBiasReaches) {
  // The range is 4: the bias of 3 lifts 2.5 above 5, but 1 not above 4.5.
  const std::vector<double> logits = {5, 4.5, 2.5, 1};
  apply({.cache_prior = 0.75f}, logits, {2, 3});
  EXPECT_EQ(ids_, (Ids{0, 2}));
  EXPECT_NEAR(weights_[1], std::exp(2.5) / (std::exp(5) + std::exp(2.5)), 1e-6);
  EXPECT_EQ(routing_->total().changed, 1u);
  EXPECT_NEAR(routing_->total().weight, std::exp(4.5) / (std::exp(5) + std::exp(4.5)), 1e-6);
  routing_.reset();
  apply({.cache_prior = 0.25f}, logits, {2, 3});
  EXPECT_EQ(ids_, (Ids{0, 1}));
  EXPECT_EQ(routing_->total().changed, 0u);
  routing_.reset();
  // The whole range: anyone in memory goes before the heaviest that is not.
  apply({.cache_prior = 1}, logits, {1, 2});
  EXPECT_EQ(ids_, (Ids{1, 2}));
  EXPECT_NEAR(weights_[0], std::exp(4.5) / (std::exp(4.5) + std::exp(2.5)), 1e-6);
}

TEST_F(LossyRoutingTest, Top1ThresholdDropsLightExpertsButNeverTheFirst) {
  apply({.top1_threshold = 0.2f}, {3, 2, 0.5, 0}, {}, 3);
  EXPECT_EQ(ids_, (Ids{0, 1}));
  EXPECT_NEAR(weights_[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  routing_.reset();
  apply({.top1_threshold = 1}, {1, 1, 1, 1}, {0, 1, 2, 3}, 3);
  EXPECT_EQ(ids_, (Ids{0}));
  EXPECT_FLOAT_EQ(weights_[0], 1);
}

TEST_F(LossyRoutingTest, ModesTogetherCountEachByItselfAndTheChoiceOnce) {
  // The prior exchanges 1 for 2, the threshold keeps both, and what is missing is skipped.
  apply({.skip_missing = true, .cache_prior = 0.75f, .top1_threshold = 0.01f}, {5, 4.5, 2.5, 1}, {2, 3});
  EXPECT_EQ(ids_, (Ids{2}));
  EXPECT_EQ(routing_->name(), "cache-prior=0.75,top1-threshold=0.01,skip-missing");
  EXPECT_EQ(routing_->counts(LossyMode::cache_prior).changed, 1u);
  EXPECT_EQ(routing_->counts(LossyMode::top1_threshold).changed, 0u);
  EXPECT_EQ(routing_->counts(LossyMode::skip_missing).changed, 1u);
  EXPECT_EQ(routing_->total().changed, 2u);
  EXPECT_NEAR(routing_->total().weight, 1, 1e-6);
}

TEST_F(LossyRoutingTest, NothingChangesWhileTheChosenAreInMemory) {
  for (const bool normalise : {true, false}) {
    apply({.skip_missing = true, .cache_prior = 1}, {0.3, 1.7, 1.7, -40}, {1, 2}, 2, normalise);
    EXPECT_EQ(ids_, (Ids{1, 2}));
    EXPECT_EQ(weights_, exact_);
  }
  EXPECT_EQ(routing_->total().changed, 0u);
  EXPECT_EQ(routing_->total().weight, 0);
}

TEST_F(LossyRoutingTest, WhateverTheScoresTheWeightsStayInBounds) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  routing_ = LossyRouting::create({.skip_missing = true, .cache_prior = 1, .top1_threshold = 0.5f}).value();
  for (const std::vector<float>& p :
       {std::vector<float>{0, 0, 0, 0}, {1, 0, 0, 0}, {nan, nan, nan, nan}, {0.5f, nan, 0.5f, 0}}) {
    for (const std::set<int32_t>& ready : {std::set<int32_t>{}, {3}, {0, 2}, {0, 1, 2, 3}}) {
      const RouterOptions router = {.experts = 4, .used = 3, .normalise = true};
      int32_t ids[3];
      float weights[3];
      choose_experts(p, router, ids, weights);
      const int64_t left = routing_->apply(SomeExperts(ready), 0, p, router, ids, weights);
      ASSERT_TRUE(left >= 1 && left <= 3);
      EXPECT_EQ(std::set<int32_t>(ids, ids + left).size(), static_cast<size_t>(left));
      for (int64_t i = 0; i < left; ++i) {
        EXPECT_TRUE(ids[i] >= 0 && ids[i] < 4);
        if (!std::isnan(p[1])) {
          EXPECT_TRUE(weights[i] >= 0 && weights[i] <= 1) << weights[i];
        }
      }
    }
  }
}

TEST(LossyOptions, BadValuesAreRefusedAndNothingIsOff) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), huge = std::numeric_limits<float>::infinity();
  for (const float bad : {-0.1f, 1.1f, nan, huge}) {
    EXPECT_EQ(LossyRouting::create({.cache_prior = bad}).error().code, ErrorCode::invalid_argument) << bad;
    EXPECT_EQ(LossyRouting::create({.top1_threshold = bad}).error().code, ErrorCode::invalid_argument) << bad;
  }
  EXPECT_EQ(LossyRouting::create({}).value(), nullptr);
  EXPECT_EQ(LossyRouting::create({.skip_missing = true}).value()->name(), "skip-missing");
}

}  // namespace
}  // namespace moxie

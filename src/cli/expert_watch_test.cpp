#include "cli/expert_watch.h"

#include <gtest/gtest.h>

namespace moxie::cli {
namespace {

using std::chrono::milliseconds;

// Looks ten times a second at a model that goes through `tokens_per_second`, reads a MiB and waits 0.1 s for each.
class Steady {
 public:
  PictureRates run(double seconds, double tokens_per_second) {
    PictureRates rates;
    for (const auto end = now_ + milliseconds(static_cast<int64_t>(seconds * 1000)); now_ < end;) {
      now_ += milliseconds(100);
      done_ += tokens_per_second / 10;
      ExpertHeat heat;
      heat.tokens = static_cast<uint64_t>(done_ + 1e-9);
      heat.bytes_read = heat.tokens << 20;
      heat.stall_seconds = static_cast<double>(heat.tokens) / 10;
      heat.disk_busy_seconds = heat.stall_seconds / 2;
      rates = recent_.add(now_, heat);
    }
    return rates;
  }

 private:
  RecentRates recent_;
  RecentRates::Clock::time_point now_;
  double done_ = 0;
};

TEST(RecentRates, AreThoseOfTheLastMoments) {
  Steady model;
  PictureRates rates = model.run(10, 5);
  EXPECT_NEAR(rates.tokens_per_second, 5, 0.5);
  EXPECT_NEAR(rates.bytes_per_second, 5 << 20, 1 << 19);
  EXPECT_NEAR(rates.stall_share, 0.5, 0.05);
  EXPECT_NEAR(rates.disk_busy_share, 0.25, 0.03);
  // A change is seen within seconds.
  EXPECT_NEAR(model.run(3, 20).tokens_per_second, 20, 1);
  EXPECT_NEAR(model.run(30, 1).tokens_per_second, 1, 0.3);
}

TEST(RecentRates, AreNotZeroBetweenTheTokensOfASlowModel) {
  Steady model;
  EXPECT_NEAR(model.run(100, 0.2).tokens_per_second, 0.2, 0.07);
  EXPECT_EQ(Steady().run(0.1, 100).tokens_per_second, 0);  // one look tells nothing
  EXPECT_EQ(model.run(200, 0).tokens_per_second, 0);
}

}  // namespace
}  // namespace moxie::cli

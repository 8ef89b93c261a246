#include "core/read_keeper.h"
#include "core/byte_units.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace moxie {
namespace {

// Reads so much with whatever the keeper says, in portions of an expert, and returns the mean rate. Time goes on over
// calls.
struct Drive {
  std::function<double(ReadSetting)> rate;
  uint64_t bytes = 0;
  double seconds = 0;

  double read(ReadKeeper& keeper, uint64_t wanted) {
    const uint64_t from = bytes;
    const double start = seconds;
    while (bytes - from < wanted) {
      constexpr uint64_t kPortion = 33 * kMiB;
      bytes += kPortion;
      seconds += static_cast<double>(kPortion) / rate(keeper.setting());
      keeper.record(bytes, seconds);
    }
    return static_cast<double>(bytes - from) / (seconds - start);
  }
};

double likes_shallow(ReadSetting setting) {
  return 1.9e9 / (1 + static_cast<double>(setting.bytes_in_flight()) / static_cast<double>(16 * kMiB));
}

double likes_deep(ReadSetting setting) {
  return std::min(1.9e9, 2.5e8 * setting.depth + 1e8 * static_cast<double>(setting.piece_bytes / kMiB));
}

TEST(ReadKeeper, FollowsADriveThatChangesItsMind) {
  ReadKeeper keeper({256 * kKiB, 1});
  Drive drive{likes_shallow};
  EXPECT_GE(drive.read(keeper, 4096 * kMiB), 0.85 * likes_shallow({256 * kKiB, 1}));
  drive.rate = likes_deep;
  drive.read(keeper, uint64_t{24576} * kMiB);  // about six tokens of a Mixtral that keeps few experts
  EXPECT_GE(drive.read(keeper, uint64_t{16384} * kMiB), 0.85 * 1.9e9);
  drive.rate = likes_shallow;
  drive.read(keeper, uint64_t{24576} * kMiB);
  EXPECT_GE(drive.read(keeper, uint64_t{16384} * kMiB), 0.85 * likes_shallow({256 * kKiB, 1}));
}

TEST(ReadKeeper, CostsLittleWhereTheSettingIsRight) {
  ReadKeeper keeper({2 * kMiB, 8});
  Drive drive{likes_deep};
  EXPECT_GE(drive.read(keeper, uint64_t{16384} * kMiB), 0.88 * 1.9e9);
  drive.read(keeper, uint64_t{65536} * kMiB);
  EXPECT_GE(drive.read(keeper, uint64_t{65536} * kMiB), 0.97 * 1.9e9);  // it asks less and less often
}

TEST(ReadKeeper, NoiseMovesItToNothingMuchSlower) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> noise(0, 0.1);
  ReadKeeper keeper({1 * kMiB, 4});
  const auto plain = [](ReadSetting setting) { return setting.depth == 1 ? 1.0e9 : 1.5e9; };
  Drive drive{[&](ReadSetting setting) { return plain(setting) * std::exp(noise(random)); }};
  drive.read(keeper, uint64_t{32768} * kMiB);
  EXPECT_GE(drive.read(keeper, uint64_t{32768} * kMiB), 0.9 * 1.5e9);
}

TEST(ReadKeeper, StaysWhereThereIsNothingElse) {
  const ReadSetting only{1 * kMiB, 4};
  ReadKeeper keeper(only, {&only, 1});
  Drive drive{likes_deep};
  drive.read(keeper, uint64_t{8192} * kMiB);
  EXPECT_EQ(keeper.setting(), only);
}

TEST(ReadKeeper, AClockThatStandsStillSaysNothing) {
  ReadKeeper keeper({1 * kMiB, 4});
  for (uint64_t i = 1; i < 100; ++i) EXPECT_FALSE(keeper.record(i * ReadKeeper::kWindowBytes, 0));
}

}  // namespace
}  // namespace moxie

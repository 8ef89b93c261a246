#include "core/drive_probe.h"
#include "core/byte_units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

namespace moxie {
namespace {

using testing::HasSubstr;

// Feeds a tuner from a made-up drive until it has finished or `budget` bytes are read; returns what was read.
uint64_t feed(ReadTuner& tuner, const std::function<double(ReadSetting)>& rate, uint64_t budget = ~uint64_t{0},
              uint64_t at_once = ~uint64_t{0}) {
  uint64_t bytes = 0;
  while (!tuner.finished() && bytes < budget) {
    const uint64_t piece = std::min(at_once, tuner.wanted_bytes());
    tuner.record(piece, static_cast<double>(piece) / rate(tuner.setting()));
    bytes += piece;
  }
  return bytes;
}

// A drive with a queue: each request costs `latency` seconds, the bus carries `peak` bytes/s.
double queued(ReadSetting setting, double peak, double latency) {
  const auto piece = static_cast<double>(setting.piece_bytes);
  return std::min(peak, setting.depth * piece / (latency + piece / peak));
}

TEST(ReadTuner, TheGridHasEveryCombinationOnce) {
  const auto grid = ReadTuner::grid();
  EXPECT_EQ(grid.size(), 20u);
  for (const uint64_t piece : {256 * kKiB, 512 * kKiB, 1 * kMiB, 2 * kMiB, 4 * kMiB}) {
    for (const int depth : {1, 2, 4, 8}) {
      EXPECT_EQ(std::count(grid.begin(), grid.end(), ReadSetting{piece, depth}), 1);
    }
  }
}

TEST(ReadTuner, FindsTheFastestOfADriveThatLikesDeepQueues) {
  ReadTuner tuner;
  const auto rate = [](ReadSetting setting) { return queued(setting, 7e9, 500e-6); };
  feed(tuner, rate);
  double fastest = 0;
  for (const ReadSetting& setting : ReadTuner::grid()) fastest = std::max(fastest, rate(setting));
  EXPECT_GE(rate(tuner.best()), 0.97 * fastest);
  EXPECT_GE(tuner.best().bytes_in_flight(), 4 * kMiB);
}

TEST(ReadTuner, FindsTheFastestOfADriveThatDoesNot) {
  // As a network drive may be: slower the more is asked of it at once.
  const auto rate = [](ReadSetting setting) {
    return 1.2e9 / (1 + std::pow(static_cast<double>(setting.bytes_in_flight()) / static_cast<double>(8 * kMiB), 2)) -
           (setting.piece_bytes == 256 * kKiB ? 2e8 : 0);
  };
  ReadTuner tuner;
  feed(tuner, rate);
  EXPECT_EQ(tuner.best(), (ReadSetting{512 * kKiB, 1}));
}

TEST(ReadTuner, AmongEqualsTheSmallestWins) {
  ReadTuner tuner;
  feed(tuner, [](ReadSetting setting) { return 1e9 * (1 + 0.001 * setting.depth); });
  EXPECT_EQ(tuner.best(), (ReadSetting{256 * kKiB, 1}));
  ReadTuner other;
  feed(other, [](ReadSetting setting) { return setting.depth == 1 ? 0.96e9 : 1e9; });
  EXPECT_EQ(other.best(), (ReadSetting{256 * kKiB, 2}));
}

TEST(ReadTuner, SurvivesNoiseStallsAndADriveThatSlowsDown) {
  std::mt19937_64 random(3);
  int good = 0;
  for (int run = 0; run < 50; ++run) {
    ReadTuner tuner;
    double slower = 1;
    feed(tuner, [&](ReadSetting setting) {
      const double noise = 1 + 0.05 * (static_cast<double>(random() % 2001) / 1000 - 1);
      slower *= 0.99;
      if (random() % 5 == 0) return 2e8;  // somebody else had the drive
      return queued(setting, 3e9, 300e-6) * noise * slower;
    });
    good += queued(tuner.best(), 3e9, 300e-6) >= 0.9 * 3e9 ? 1 : 0;
  }
  EXPECT_GE(good, 45);
}

TEST(ReadTuner, LittleToReadGivesTheBestOfWhatWasTried) {
  ReadTuner tuner;
  EXPECT_EQ(tuner.best(), ReadTuner::grid().front());
  EXPECT_EQ(tuner.setting(), ReadTuner::grid().front());
  const auto rate = [](ReadSetting setting) { return setting.depth == 2 ? 2e9 : 1e9; };
  feed(tuner, rate, 20 * kMiB, 3 * kMiB);  // in small portions
  EXPECT_FALSE(tuner.finished());
  EXPECT_EQ(tuner.best(), (ReadSetting{512 * kKiB, 2}));
  uint64_t measured = 0;
  for (const ReadMeasurement& one : tuner.measurements()) measured += one.bytes;
  EXPECT_GE(measured, 16 * kMiB);
  EXPECT_LE(measured, 23 * kMiB);
}

TEST(ReadTuner, EndsAfterLittleMoreThanAGigabyte) {
  ReadTuner tuner;
  const uint64_t bytes = feed(tuner, [](ReadSetting) { return 1e9; });
  EXPECT_LE(bytes, 1400 * kMiB);
  const ReadSetting best = tuner.best();
  EXPECT_EQ(tuner.setting(), best);
  tuner.record(kMiB, 1e-9);  // too late to matter
  EXPECT_EQ(tuner.best(), best);
  for (const ReadMeasurement& one : tuner.measurements()) EXPECT_GE(one.rates.size(), 2u);
}

TEST(ReadTuner, ASampleTakesTimeToo) {
  const std::vector<ReadSetting> settings = {{kMiB, 1}, {kMiB, 2}};
  ReadTuner tuner(settings);
  tuner.record(16 * kMiB, 0.001);  // 16 GB/s: the clock says little
  EXPECT_EQ(tuner.setting(), settings[0]);
  tuner.record(64 * kMiB, 0.004);
  EXPECT_EQ(tuner.setting(), settings[1]);
  tuner.record(0, 1);
  tuner.record(kMiB, 0);
  EXPECT_EQ(tuner.setting(), settings[1]);
}

TEST(ReadTuner, EveryoneHasTwoTurnsBeforeAnyoneIsOut) {
  const std::vector<ReadSetting> settings = {{kMiB, 1}, {kMiB, 2}, {kMiB, 4}};
  ReadTuner tuner(settings);
  std::vector<int> turns;
  while (turns.size() < 6) {
    turns.push_back(tuner.setting().depth);
    // The best one has a stall in its first turn.
    const double rate = turns.size() == 2 ? 1e8 : 1e9 + (tuner.setting().depth == 2 ? 5e8 : 0);
    tuner.record(tuner.wanted_bytes(), static_cast<double>(tuner.wanted_bytes()) / rate);
  }
  EXPECT_THAT(turns, testing::ElementsAre(1, 2, 4, 4, 2, 1));
  feed(tuner, [](ReadSetting setting) { return setting.depth == 2 ? 1.5e9 : 1e9; });
  EXPECT_EQ(tuner.best(), settings[1]);
}

class DriveProbeTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "/drive_probe_" + testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void put(uint64_t bytes) const {
    const std::string content(bytes, 'x');
    std::ofstream(path_, std::ios::binary) << content;
  }
  std::string path_;
};

TEST_F(DriveProbeTest, MeasuresARealFileWithinItsBudget) {
  put(9 * kMiB + 1234);
  for (const auto backend : {DiskReaderOptions::Backend::automatic, DiskReaderOptions::Backend::threads}) {
    DriveProbeOptions options;
    options.reader.backend = backend;
    options.budget_bytes = 64 * kMiB;
    options.budget_seconds = 60;
    const auto probe = probe_drive(path_, options);
    ASSERT_TRUE(probe.ok()) << probe.error().message;
    EXPECT_FALSE(probe->measurements.empty());
    uint64_t bytes = 0;
    bool found = false;
    for (const ReadMeasurement& one : probe->measurements) {
      EXPECT_GT(one.bytes_per_second(), 0);
      bytes += one.bytes;
      if (one.setting == probe->best) {
        found = true;
        EXPECT_EQ(one.bytes_per_second(), probe->best_bytes_per_second);
      }
    }
    EXPECT_TRUE(found);
    EXPECT_GE(bytes, 8 * kMiB);
    EXPECT_LE(bytes, 256 * kMiB);
    EXPECT_THAT(probe->how, HasSubstr("in flight"));
  }
}

TEST_F(DriveProbeTest, AFileSmallerThanAPiece) {
  put(5000);
  DriveProbeOptions options;
  options.budget_bytes = 1 * kMiB;
  const auto probe = probe_drive(path_, options);
  ASSERT_TRUE(probe.ok()) << probe.error().message;
}

TEST_F(DriveProbeTest, SaysWhatItCannotMeasure) {
  EXPECT_EQ(probe_drive(path_, {}).error().code, ErrorCode::not_found);
  put(0);
  EXPECT_EQ(probe_drive(path_, {}).error().code, ErrorCode::invalid_argument);
  std::filesystem::resize_file(path_, 64 * kMiB);  // nothing but a hole
  DriveProbeOptions options;
  options.budget_bytes = 1 * kMiB;
  const auto probe = probe_drive(path_, options);
  ASSERT_TRUE(probe.ok());
  ASSERT_FALSE(probe->notices.empty());
  EXPECT_THAT(probe->notices.back(), HasSubstr("has holes"));
}

TEST_F(DriveProbeTest, CanBeStopped) {
  put(4 * kMiB);
  const std::atomic<bool> stop{true};
  DriveProbeOptions options;
  options.stop = &stop;
  EXPECT_EQ(probe_drive(path_, options).error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace moxie

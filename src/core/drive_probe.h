// How a drive wants to be read: which piece size and how many pieces in flight. Deep queues and large pieces help some
// drives and slow down others, so it is measured: by a tuner fed with reads that are needed anyway, or by reading a
// file for that purpose. Not thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/disk_reader.h"
#include "core/read_setting.h"
#include "moxie/error.h"

namespace moxie {

// What is known about one setting.
struct ReadMeasurement {
  ReadSetting setting;
  uint64_t bytes = 0;
  double seconds = 0;
  std::vector<double> rates;        // bytes/s of its samples, in order of time
  double bytes_per_second() const;  // their median, which is what to expect; 0 without samples
};

// Proposes one setting after the other and is told what came of it. All settings have two turns, the likely ones first;
// then the better half of them has one, and so on. What makes a sample slow is mostly a neighbour of this drive or
// processor, hardly ever the setting: settings are judged by the better half of their samples. May be asked for the
// best at any time.
class ReadTuner {
 public:
  // 256 KiB to 4 MiB, 1 to 8 in flight.
  static std::span<const ReadSetting> grid();
  // REQUIRES: settings are distinct and at least one.
  explicit ReadTuner(std::span<const ReadSetting> settings = grid());

  bool finished() const { return contenders_.size() <= 1; }
  // What to read with next, and about how much before the time counts: several times what is in flight.
  ReadSetting setting() const;
  uint64_t wanted_bytes() const;
  // Bytes were read with setting(), which took so long from the first submit to the last arrival. Moves on once they
  // are enough.
  void record(uint64_t bytes, double seconds);

  // The fastest so far, or a smaller one that is as fast within 3 %; samples are compared with those of the same round,
  // since a drive may change its mind. Without any sample the first of the settings.
  ReadSetting best() const;
  std::span<const ReadMeasurement> measurements() const { return measurements_; }  // in the order of the settings

 private:
  void next_round();
  uint64_t sample_bytes() const;
  double relative(size_t a, size_t b) const;

  std::vector<ReadMeasurement> measurements_;
  std::vector<size_t> contenders_;  // indices of measurements_; in the order of their turns
  size_t turn_ = 0;
  int rounds_ = 0;
  uint64_t bytes_ = 0;  // of the sample in progress
  double seconds_ = 0;
};

struct DriveProbeOptions {
  DiskReaderOptions reader;  // backend and direct; depth and piece_bytes do not matter
  uint64_t budget_bytes = uint64_t{2} << 30;
  double budget_seconds = 5;
  const std::atomic<bool>* stop = nullptr;
};

struct DriveProbe {
  std::vector<ReadMeasurement> measurements;  // those that had a turn
  ReadSetting best;
  double best_bytes_per_second = 0;
  std::string how;  // the reader's description
  std::vector<std::string> notices;
};

// Reads `path` at random places with every setting, within the budget; keeps nothing.
// Errors: those of DiskReader; invalid_argument for an empty file; cancelled.
Result<DriveProbe> probe_drive(const std::string& path, const DriveProbeOptions& options);

}  // namespace moxie

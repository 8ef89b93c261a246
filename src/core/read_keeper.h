// Keeps a drive's setting right while a model runs. What a drive likes changes within the hour (neighbours, a cloud's
// limits), so a setting found while loading may be a third slower later. Contests between the setting in use and each
// other one, on the reads that are made anyway: a few in turn, so that a drive that changes meanwhile favours nobody.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/drive_probe.h"

namespace moxie {

class ReadKeeper {
 public:
  // A window is long enough that a few slow pieces do not decide it.
  static constexpr uint64_t kWindowBytes = uint64_t{96} << 20;

  // `first` need not be among the others. REQUIRES: `others` is not empty.
  explicit ReadKeeper(ReadSetting first, std::span<const ReadSetting> others = ReadTuner::grid());

  // What to read with now.
  ReadSetting setting() const { return challenging_ ? others_[challenger_] : kept_; }
  // All that was read so far, and for how long at least one read was in flight. True: setting() is another one now.
  bool record(uint64_t bytes, double busy_seconds);

 private:
  void window(double rate);
  void next_challenger();

  std::vector<ReadSetting> others_;
  ReadSetting kept_;
  bool challenging_ = false;
  size_t challenger_ = 0;
  size_t lost_ = 0;  // contests in a row
  int wins_ = 0;     // of this challenger
  int quiet_;        // windows of the kept setting until the next contest
  int pause_;        // and how many there are between two contests
  double gain_ = 1;  // of this challenger over its neighbours in time
  double before_ = 0, challenged_ = 0;
  uint64_t bytes_ = 0;  // where the window began
  double seconds_ = 0;
};

}  // namespace moxie

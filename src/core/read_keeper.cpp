#include "core/read_keeper.h"

#include <algorithm>

#include "core/check.h"

namespace moxie {
namespace {

// A setting takes over when it was faster twice, by this much on average: less is noise.
constexpr double kFaster = 1.04;
constexpr int kWins = 2;
// A challenger this much slower is stopped after a quarter of its window.
constexpr double kHopeless = 0.8;
constexpr uint64_t kLeast = 4;
// One window in seven is a challenger's at first. Each round that changes nothing doubles the pause between contests.
constexpr int kFirstPause = 6, kLastPause = 96;

}  // namespace

ReadKeeper::ReadKeeper(ReadSetting first, std::span<const ReadSetting> others)
    : others_(others.begin(), others.end()), kept_(first), quiet_(kFirstPause), pause_(kFirstPause) {
  MOXIE_CHECK(!others.empty());
  if (others_[challenger_] == kept_) next_challenger();
}

bool ReadKeeper::record(uint64_t bytes, double busy_seconds) {
  const uint64_t got = bytes - bytes_;
  if (got < kWindowBytes / kLeast || !(busy_seconds > seconds_)) return false;
  const double rate = static_cast<double>(got) / (busy_seconds - seconds_);
  const bool hopeless = challenging_ && rate < kHopeless * before_;
  if (got < kWindowBytes && !hopeless) return false;
  bytes_ = bytes;
  seconds_ = busy_seconds;
  const ReadSetting before = setting();
  window(rate);
  return !(setting() == before);
}

// The windows of a contest: the kept setting, the challenger, the kept setting again.
void ReadKeeper::window(double rate) {
  if (challenging_) {
    challenged_ = rate;
    challenging_ = false;
    return;
  }
  if (challenged_ > 0) {
    const double gain = 2 * challenged_ / (before_ + rate);
    challenged_ = 0;
    if (gain <= 1) {
      wins_ = 0;
      gain_ = 1;
      next_challenger();
    } else {
      gain_ *= gain;
      if (++wins_ == kWins) {
        const bool better = gain_ >= kFaster * kFaster;
        wins_ = 0;
        gain_ = 1;
        if (better) {
          kept_ = others_[challenger_];
          lost_ = 0;
          pause_ = kFirstPause;
          quiet_ = 1;  // its own rate, to begin with
        }
        next_challenger();
        if (better) return;
      }
    }
    quiet_ = wins_ > 0 ? 0 : pause_ - 1;
  }
  before_ = rate;
  if (quiet_-- > 0) return;
  quiet_ = 0;
  if (others_.size() == 1 && others_[0] == kept_) return;
  challenging_ = true;
}

void ReadKeeper::next_challenger() {
  if (++lost_ >= others_.size()) {
    lost_ = 0;
    pause_ = std::min(2 * pause_, kLastPause);
  }
  challenger_ = (challenger_ + 1) % others_.size();
  if (others_[challenger_] == kept_) challenger_ = (challenger_ + 1) % others_.size();
}

}  // namespace moxie

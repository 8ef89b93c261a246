#include "core/drive_probe.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>

#include "core/buffer.h"
#include "core/byte_units.h"
#include "core/check.h"
#include "core/fail.h"

namespace moxie {
namespace {

constexpr double kAsFast = 0.97;
// A sample is long enough that filling and draining the queue does not decide it, and that a clock can tell.
constexpr uint64_t kSampleBytes = 8 * kMiB;
constexpr uint64_t kSampleQueues = 3;
constexpr double kSampleSeconds = 0.002;

// Every combination; the first few span the grid, for callers who have little to read.
constexpr std::array<ReadSetting, 20> kGrid = {{
    {1 * kMiB, 4}, {512 * kKiB, 2}, {256 * kKiB, 4}, {1 * kMiB, 1},   {2 * kMiB, 2},   {512 * kKiB, 8}, {4 * kMiB, 1},
    {1 * kMiB, 2}, {256 * kKiB, 1}, {2 * kMiB, 8},   {512 * kKiB, 4}, {256 * kKiB, 8}, {2 * kMiB, 1},   {1 * kMiB, 8},
    {4 * kMiB, 4}, {256 * kKiB, 2}, {512 * kKiB, 1}, {2 * kMiB, 4},   {4 * kMiB, 2},   {4 * kMiB, 8},
}};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::span<const double> values) {
  if (values.empty()) return 0;
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double better_half(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  sorted.resize((sorted.size() + 1) / 2);
  return std::accumulate(sorted.begin(), sorted.end(), 0.0) / static_cast<double>(std::max<size_t>(sorted.size(), 1));
}

// Random extents of one file, two at a time, so that the queue never runs empty between them.
class Extents {
 public:
  static constexpr uint64_t kMaxBytes = 32 * kMiB;

  static Result<std::unique_ptr<Extents>> open(const std::string& path, const DriveProbeOptions& options) {
    std::unique_ptr<Extents> extents(new Extents());
    const std::vector<std::string> paths = {path};
    MOXIE_TRY(extents->reader_, DiskReader::open(paths, options.reader));
    if (extents->reader_->file_bytes(0) == 0)
      return fail(ErrorCode::invalid_argument, "{}: is empty: nothing to measure", path);
    extents->stop_ = options.stop;
    for (Buffer& buffer : extents->buffers_) {
      MOXIE_TRY(buffer, Buffer::allocate(kMaxBytes));
      std::memset(buffer.data(), 0, kMaxBytes);  // or the first reads pay for the pages
    }
    return extents;
  }

  DiskReader& reader() { return *reader_; }

  // Reads at least `wanted` bytes with one setting and returns how many.
  Result<uint64_t> read(ReadSetting setting, uint64_t wanted) {
    reader_->tune(setting.piece_bytes, setting.depth);
    const uint64_t file = reader_->file_bytes(0);
    const uint64_t extent = std::min({std::max(setting.bytes_in_flight(), 8 * kMiB), kMaxBytes, file});
    uint64_t submitted = 0;
    for (size_t i = 0; submitted < wanted || i < 2; ++i) {
      ReadTask& task = tasks_[i % 2];
      if (i >= 2) MOXIE_TRY_VOID(wait(task));
      // The last block of a file may be a part of one: the extent then ends with it.
      const uint64_t places = (file - extent) / reader_->alignment() + 1;
      task.ranges[0] = {0, random_() % places * reader_->alignment(), extent, buffers_[i % 2].data()};
      task.range_count = 1;
      reader_->submit(task, ReadPriority::demand);
      submitted += extent;
    }
    for (ReadTask& task : tasks_) MOXIE_TRY_VOID(wait(task));
    return submitted;
  }

 private:
  Extents() = default;
  Result<void> wait(ReadTask& task) { return reader_->wait(task, 1, stop_); }

  std::array<Buffer, 2> buffers_;
  std::array<ReadTask, 2> tasks_;
  std::mt19937_64 random_{20240501};
  const std::atomic<bool>* stop_ = nullptr;
  std::unique_ptr<DiskReader> reader_;  // dies first, and gives up what is in flight
};

// Bytes of the file that the file system does not store are not read from the drive.
bool has_holes(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 &&
         static_cast<uint64_t>(status.st_blocks) * 512 < static_cast<uint64_t>(status.st_size) / 10 * 9;
}

}  // namespace

double ReadMeasurement::bytes_per_second() const {
  return median(rates);
}

// ---- ReadTuner ----

std::span<const ReadSetting> ReadTuner::grid() {
  return kGrid;
}

ReadTuner::ReadTuner(std::span<const ReadSetting> settings) {
  MOXIE_CHECK(!settings.empty());
  for (const ReadSetting& setting : settings) {
    contenders_.push_back(measurements_.size());
    measurements_.push_back({.setting = setting});
  }
}

ReadSetting ReadTuner::setting() const {
  return finished() ? best() : measurements_[contenders_[turn_]].setting;
}

uint64_t ReadTuner::sample_bytes() const {
  return std::max(kSampleBytes, kSampleQueues * setting().bytes_in_flight());
}

uint64_t ReadTuner::wanted_bytes() const {
  // More than it needs when the clock cannot tell yet.
  return sample_bytes() > bytes_ ? sample_bytes() - bytes_ : sample_bytes();
}

void ReadTuner::record(uint64_t bytes, double seconds) {
  if (finished() || bytes == 0 || !(seconds > 0)) return;
  bytes_ += bytes;
  seconds_ += seconds;
  if (bytes_ < sample_bytes() || seconds_ < kSampleSeconds) return;
  ReadMeasurement& measured = measurements_[contenders_[turn_]];
  measured.bytes += bytes_;
  measured.seconds += seconds_;
  measured.rates.push_back(static_cast<double>(bytes_) / seconds_);
  bytes_ = 0;
  seconds_ = 0;
  if (++turn_ == contenders_.size()) next_round();
}

// How much faster a is than b, by the samples of the rounds that both have.
double ReadTuner::relative(size_t a, size_t b) const {
  const std::vector<double>& first = measurements_[a].rates;
  const std::vector<double>& second = measurements_[b].rates;
  const size_t rounds = std::min(first.size(), second.size());
  return rounds == 0 ? 0 : better_half({first.data(), rounds}) / better_half({second.data(), rounds});
}

// The better half goes on, in the opposite order, so that a drive that grows slower or faster meanwhile favours nobody.
void ReadTuner::next_round() {
  std::vector<size_t> ranked = contenders_;
  std::stable_sort(ranked.begin(), ranked.end(), [this](size_t a, size_t b) {
    return better_half(measurements_[a].rates) > better_half(measurements_[b].rates);
  });
  if (++rounds_ > 1) ranked.resize((ranked.size() + 1) / 2);  // one slow sample puts nobody out
  std::erase_if(contenders_, [&](size_t i) { return std::find(ranked.begin(), ranked.end(), i) == ranked.end(); });
  std::reverse(contenders_.begin(), contenders_.end());
  turn_ = 0;
}

ReadSetting ReadTuner::best() const {
  size_t fastest = contenders_.front();
  for (const size_t i : contenders_) {
    if (measurements_[fastest].rates.empty() || relative(i, fastest) > 1) fastest = i;
  }
  ReadSetting best = measurements_[fastest].setting;
  if (measurements_[fastest].rates.empty()) return measurements_.front().setting;
  // Those that are out may have lost by a hair to larger ones.
  for (size_t i = 0; i < measurements_.size(); ++i) {
    const ReadSetting& setting = measurements_[i].setting;
    const bool smaller = setting.bytes_in_flight() < best.bytes_in_flight() ||
                         (setting.bytes_in_flight() == best.bytes_in_flight() && setting.depth < best.depth);
    if (smaller && relative(i, fastest) >= kAsFast) best = setting;
  }
  return best;
}

// ---- probe_drive ----

Result<DriveProbe> probe_drive(const std::string& path, const DriveProbeOptions& options) {
  MOXIE_TRY(const auto extents, Extents::open(path, options));
  ReadTuner tuner;
  uint64_t bytes = 0;
  const auto start = std::chrono::steady_clock::now();
  while (!tuner.finished() && bytes < options.budget_bytes && seconds_since(start) < options.budget_seconds) {
    if (options.stop != nullptr && options.stop->load())
      return Error{ErrorCode::cancelled, "cancelled while measuring"};
    const auto before = std::chrono::steady_clock::now();
    MOXIE_TRY(const uint64_t got, extents->read(tuner.setting(), tuner.wanted_bytes()));
    tuner.record(got, seconds_since(before));
    bytes += got;
  }

  DriveProbe probe;
  for (const ReadMeasurement& measured : tuner.measurements()) {
    if (!measured.rates.empty()) probe.measurements.push_back(measured);
    if (measured.setting == tuner.best()) probe.best_bytes_per_second = measured.bytes_per_second();
  }
  probe.best = tuner.best();
  extents->reader().tune(probe.best.piece_bytes, probe.best.depth);
  probe.how = extents->reader().describe();
  probe.notices = extents->reader().notices();
  if (has_holes(path))
    probe.notices.push_back(fmt::format("{}: has holes, which no drive reads: the speed says nothing", path));
  return probe;
}

}  // namespace moxie

// Reads of weight files, asynchronously, past the page cache where the file system allows it. Two priorities: a demand
// read is never queued behind lookahead reads. The files stay open while the reader lives. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/check.h"
#include "moxie/error.h"

namespace moxie {

class ReadBackend;
class ReadQueue;

enum class ReadPriority : uint8_t { demand, lookahead };

// A range of one file and where it goes. Reads cover whole blocks, so the bytes around the range are written too:
// [align_down(offset), align_up(offset + bytes)) must fit around `into`.
// REQUIRES: (address of into - offset) % alignment() == 0.
struct ReadRange {
  int file = 0;  // index into the paths given to open()
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::byte* into = nullptr;
};

// What one expert needs: up to kMaxRanges ranges. Pieces are issued in this order; completions may come in another.
// Where a range goes on in the file and in memory alike where the one before it ends, the block that they share is read
// once. Owned by the caller, reused, must stay in place while the reader works on it.
class ReadTask {
 public:
  static constexpr int kMaxRanges = 15;

  ReadTask() = default;
  ReadTask(const ReadTask&) = delete;
  ReadTask& operator=(const ReadTask&) = delete;
  ~ReadTask() { MOXIE_CHECK(state_.load(std::memory_order_acquire) == State::idle); }

  // Set only while the task is idle.
  std::array<ReadRange, kMaxRanges> ranges{};
  int range_count = 0;

 private:
  friend class ReadQueue;
  enum class State : uint8_t { idle, reading, failing, cancelling };
  static constexpr int kFailed = -1;

  // Written under the queue's lock; read without it by arrived(), failed() and retried().
  std::atomic<State> state_{State::idle};
  std::atomic<int> arrived_{0};  // ranges of the beginning that are complete, or kFailed
  std::atomic<bool> retried_{false};

  // Under the queue's lock.
  ReadPriority priority_ = ReadPriority::demand;
  bool queued_ = false;  // has pieces that were not issued yet, and stands in the list of its priority
  int in_flight_ = 0;    // pieces
  int cursor_range_ = 0;
  uint64_t cursor_ = 0;                         // offset in the file of the next piece
  std::array<uint64_t, kMaxRanges> missing_{};  // bytes of each range that have not arrived
  std::array<bool, kMaxRanges> joined_{};       // goes on where the range before it ends
  ReadTask* next_ = nullptr;
  ReadTask* previous_ = nullptr;
  Error error_;  // why it failed
};

// A finished piece as a test may change it.
struct ReadOutcome {
  int file = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::byte* into = nullptr;
  ReadPriority priority = ReadPriority::demand;
  int attempts = 0;    // that failed before
  int64_t result = 0;  // bytes read, or a negative errno
};

struct DiskReaderOptions {
  enum class Backend : uint8_t { automatic, io_uring, threads };
  Backend backend = Backend::automatic;  // io_uring where the build and the system have it, else threads
  bool direct = true;                    // O_DIRECT where the file system takes it
  int depth = 0;                         // pieces in flight (io_uring) or threads; 0: chosen
  uint64_t piece_bytes = 0;              // a multiple of the alignment; 0: chosen
  uint64_t min_alignment = 0;            // tests: blocks at least this large; a power of two
  // Tests: called for each finished piece before it is looked at; may change the result (negative errno, short count),
  // spoil the bytes, sleep. Called from the threads that read, perhaps from several at once. Null in production.
  std::function<void(ReadOutcome&)> inject;
};

struct DiskReaderStats {
  static constexpr size_t kLatencyBuckets = 32;

  uint64_t demand_bytes = 0;  // read from files, whole blocks
  uint64_t lookahead_bytes = 0;
  uint64_t pieces = 0;      // that arrived
  uint64_t retries = 0;     // reads issued again, after an error or for a missing rest
  uint64_t failures = 0;    // tasks
  double busy_seconds = 0;  // with at least one piece in flight
  std::array<uint64_t, kLatencyBuckets>
      latency{};  // latency[i]: pieces that took [2^i, 2^(i+1)) microseconds; [0]: less than 2

  uint64_t bytes() const { return demand_bytes + lookahead_bytes; }
};

class DiskReader {
 public:
  static constexpr int kMaxDepth = 64;
  static constexpr uint64_t kMaxPieceBytes = uint64_t{64} << 20;

  // Errors: not_found, io, invalid_argument (a folder; depth or piece_bytes out of range). What falls back (no
  // io_uring, no O_DIRECT for a file) is in notices().
  static Result<std::unique_ptr<DiskReader>> open(std::span<const std::string> paths, const DiskReaderOptions& options);
  // The alignment() of a reader of these files. Errors: as open().
  static Result<uint64_t> alignment_of(std::span<const std::string> paths, const DiskReaderOptions& options);
  ~DiskReader();  // gives up what is queued and waits for what is in flight
  DiskReader(const DiskReader&) = delete;
  DiskReader& operator=(const DiskReader&) = delete;

  uint64_t alignment() const;  // of offsets, lengths and addresses; a power of two >= 4096; the same for all files
  uint64_t file_bytes(int file) const;  // when it was opened
  const std::string& file_path(int file) const;

  // REQUIRES: idle, that is never submitted, finished, failed or cancelled.
  void submit(ReadTask& task, ReadPriority priority);
  // A lookahead read becomes a demand read and keeps what has arrived; no-op if finished or demanded already.
  void promote(ReadTask& task);
  // Gives up a task: no further piece is issued; returns once none is in flight (at most a few pieces' time). Idle
  // afterwards. Nothing of it counts as arrived, unless it had finished before.
  void cancel(ReadTask& task);
  // The same without waiting: pieces in flight still write to the task's memory until it is idle.
  void give_up(ReadTask& task);
  bool idle(const ReadTask& task) const;
  // Until it is idle or the time is over; whether it is.
  bool wait_idle(const ReadTask& task, std::chrono::milliseconds patience) const;
  // Until the first `ranges` ranges have arrived. Errors: io (message with path, range, errno), corrupt (the file
  // shrank or was replaced), cancelled (*stop became true: the task goes on in the background; or somebody cancelled
  // the task). After io and corrupt the task is idle again.
  Result<void> wait(ReadTask& task, int ranges, const std::atomic<bool>* stop = nullptr);
  bool arrived(const ReadTask& task, int ranges) const;  // without waiting; false when failed
  bool failed(const ReadTask& task) const;               // and idle
  // Was some of it read again, after an error or too few bytes? Final once all has arrived.
  bool retried(const ReadTask& task) const;

  int64_t demand_pieces() const;  // queued or in flight
  DiskReaderStats stats() const;
  // Fitted values for this drive and expert size; holds for the pieces issued from now on.
  // REQUIRES: 0 < piece_bytes <= kMaxPieceBytes, a multiple of alignment(); 0 < depth <= kMaxDepth.
  void tune(uint64_t piece_bytes, int depth);
  // From now on the setting follows the drive (core/read_keeper.h), until the next tune().
  void keep_tuned();
  uint64_t piece_bytes() const;
  int depth() const;

  // Errors: corrupt when a file was replaced, cut or written to since it was opened. Asks the file system, reads
  // nothing.
  Result<void> check_files() const;
  // The same for what the open files hold: one that was replaced or removed is still there as it was.
  Result<void> check_contents() const;
  std::vector<std::string> notices() const;
  std::string describe() const;  // "io_uring, O_DIRECT, 4 pieces of 1 MiB in flight"

 private:
  DiskReader() = default;
  std::unique_ptr<ReadQueue> queue_;
  std::unique_ptr<ReadBackend> backend_;
};

}  // namespace moxie

// What is to be read, in which order, and what became of it: the part of the disk reader that all backends share.
// Callers put tasks in; a backend takes pieces out, reads them and hands back the results, which are judged, retried
// and accounted for here. Thread-safe. Allocates nothing between open and close, except for errors.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/direct_file.h"
#include "core/disk_reader.h"
#include "core/read_keeper.h"

namespace moxie {

// A part of a task that is read at once. The backend that took it keeps it until finish() is true.
struct ReadPiece {
  ReadTask* task = nullptr;
  ReadPriority priority = ReadPriority::demand;
  int file = 0;
  uint64_t offset = 0;    // of the whole piece
  uint64_t bytes = 0;     // whole blocks
  uint64_t expected = 0;  // what the file holds of them: less than bytes at its end
  std::byte* into = nullptr;
  uint64_t done = 0;    // bytes of the beginning that have arrived; whole blocks
  int first_range = 0;  // the ranges of the task that lie in the piece's stream
  int last_range = 0;
  int attempts = 0;  // that failed
  int interruptions = 0;
  std::chrono::steady_clock::time_point issued;

  // What is to be read now.
  uint64_t next_offset() const { return offset + done; }
  uint64_t next_bytes() const { return bytes - done; }
  std::byte* next_into() const { return into + done; }
};

class ReadQueue {
 public:
  using Setting = ReadSetting;

  ReadQueue(std::vector<std::unique_ptr<DirectFile>> files, uint64_t alignment, Setting setting,
            std::function<void(ReadOutcome&)> inject);

  // ---- for callers; what they mean stands in disk_reader.h ----
  void submit(ReadTask& task, ReadPriority priority);
  void promote(ReadTask& task);
  void cancel(ReadTask& task);
  void give_up(ReadTask& task);
  bool wait_idle(const ReadTask& task, std::chrono::milliseconds patience);
  static bool idle(const ReadTask& task) {
    return task.state_.load(std::memory_order_acquire) == ReadTask::State::idle;
  }
  Result<void> wait(ReadTask& task, int ranges, const std::atomic<bool>* stop);
  static bool arrived(const ReadTask& task, int ranges) {
    return task.arrived_.load(std::memory_order_acquire) >= ranges;
  }
  static bool failed(const ReadTask& task) {
    return task.arrived_.load(std::memory_order_acquire) == ReadTask::kFailed;
  }
  static bool retried(const ReadTask& task) { return task.retried_.load(std::memory_order_relaxed); }
  int64_t demand_pieces() const;
  DiskReaderStats stats() const;
  void set(Setting setting);
  void keep_tuned();
  Setting setting() const;
  void stop();  // gives up what is queued; returns once nothing is in flight

  // ---- for backends ----
  // The next piece to read. False when there is none, or when as many are in flight as the depth allows.
  bool take(ReadPiece* piece);
  // Sleeps until there is one. False when the queue has stopped.
  bool wait_take(ReadPiece* piece);
  // Hands back the result of reading what piece.next_*() said. False: read what they say now. May pause before that.
  bool finish(ReadPiece* piece, int64_t result);
  bool stopped() const;

  const std::vector<std::unique_ptr<DirectFile>>& files() const { return files_; }
  uint64_t alignment() const { return alignment_; }
  void notice(std::string text);
  std::vector<std::string> notices() const;

 private:
  struct List {
    ReadTask* first = nullptr;
    ReadTask* last = nullptr;
  };
  struct Judgement {
    enum class Kind : uint8_t { finished, again, failed } kind = Kind::finished;
    std::chrono::milliseconds pause{0};
    Error error;
  };

  List& list(ReadPriority priority) { return priority == ReadPriority::demand ? demand_ : lookahead_; }
  void append(ReadTask& task);
  void unlink(ReadTask& task);
  bool joins(const ReadRange& before, const ReadRange& range) const;
  void plan(ReadTask& task) const;
  void check_apart(const ReadTask& task) const;
  void move_to_range(ReadTask& task, int range) const;
  void cut(ReadTask& task, ReadPiece* piece) const;
  bool take_locked(ReadPiece* piece);
  Judgement judge(ReadPiece* piece, int64_t result);
  Judgement judge_error(ReadPiece* piece, int error);
  void settle(ReadPiece& piece, Judgement& judgement);
  void follow_drive(std::chrono::steady_clock::time_point now);
  void count_arrival(const ReadPiece& piece);
  void drop(ReadTask& task);
  void end(ReadTask& task);
  uint64_t down(uint64_t value) const { return value & ~(alignment_ - 1); }
  uint64_t up(uint64_t value) const { return (value + alignment_ - 1) & ~(alignment_ - 1); }

  const std::vector<std::unique_ptr<DirectFile>> files_;
  const uint64_t alignment_;
  const std::function<void(ReadOutcome&)> inject_;

  mutable std::mutex mutex_;
  std::condition_variable work_;      // a piece may be taken, or the queue stops
  std::condition_variable progress_;  // a range arrived, a task ended, nothing is in flight
  Setting setting_;
  std::optional<ReadKeeper> keeper_;
  List demand_;
  List lookahead_;
  int in_flight_ = 0;
  int demand_in_flight_ = 0;
  bool stopping_ = false;
  std::chrono::steady_clock::time_point busy_since_;
  DiskReaderStats stats_;
  std::vector<std::string> notices_;
};

}  // namespace moxie

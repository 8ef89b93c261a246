#include "core/read_queue.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <system_error>
#include <thread>

#include "core/fail.h"

namespace moxie {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kAttempts = 3;
constexpr int kInterruptions = 1000;  // before even those count as failed attempts
constexpr std::chrono::milliseconds kStopCheck{20};

std::chrono::milliseconds backoff(int attempts) {
  return std::chrono::milliseconds(attempts == 1 ? 2 : 20);
}

size_t latency_bucket(Clock::duration latency) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(latency).count();
  const auto bucket = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(us, 1))) - 1);
  return std::min(bucket, DiskReaderStats::kLatencyBuckets - 1);
}

}  // namespace

ReadQueue::ReadQueue(std::vector<std::unique_ptr<DirectFile>> files, uint64_t alignment, Setting setting,
                     std::function<void(ReadOutcome&)> inject)
    : files_(std::move(files)), alignment_(alignment), inject_(std::move(inject)), setting_(setting) {}

// ---- lists of tasks that have pieces to issue ----

void ReadQueue::append(ReadTask& task) {
  List& to = list(task.priority_);
  task.previous_ = to.last;
  task.next_ = nullptr;
  (to.last != nullptr ? to.last->next_ : to.first) = &task;
  to.last = &task;
  task.queued_ = true;
}

void ReadQueue::unlink(ReadTask& task) {
  List& from = list(task.priority_);
  (task.previous_ != nullptr ? task.previous_->next_ : from.first) = task.next_;
  (task.next_ != nullptr ? task.next_->previous_ : from.last) = task.previous_;
  task.previous_ = task.next_ = nullptr;
  task.queued_ = false;
}

// ---- callers ----

void ReadQueue::submit(ReadTask& task, ReadPriority priority) {
  MOXIE_CHECK(task.range_count >= 0 && task.range_count <= ReadTask::kMaxRanges);
  const std::lock_guard lock(mutex_);
  MOXIE_CHECK(task.state_ == ReadTask::State::idle && !stopping_);
  task.priority_ = priority;
  task.arrived_.store(0, std::memory_order_relaxed);
  task.error_ = {};
  task.retried_ = false;
  task.state_ = ReadTask::State::reading;
  for (int i = 0; i < task.range_count; ++i) {
    const ReadRange& range = task.ranges[static_cast<size_t>(i)];
    MOXIE_CHECK(range.file >= 0 && static_cast<size_t>(range.file) < files_.size());
    MOXIE_CHECK(range.bytes == 0 || (reinterpret_cast<uintptr_t>(range.into) - range.offset) % alignment_ == 0);
    const DirectFile& file = *files_[static_cast<size_t>(range.file)];
    if (range.offset > file.bytes() || range.bytes > file.bytes() - range.offset) {
      task.state_ = ReadTask::State::failing;
      task.error_ = fail(ErrorCode::corrupt,
                         "{}: has {} bytes, but {} bytes at {} are needed: the file is truncated; get it again",
                         file.path(), file.bytes(), range.bytes, range.offset);
    }
  }
  if (task.state_ == ReadTask::State::reading) {
    plan(task);
    if (task.cursor_range_ < task.range_count) append(task);
  }
  if (!task.queued_)
    end(task);  // nothing to read
  else
    work_.notify_all();
}

void ReadQueue::promote(ReadTask& task) {
  const std::lock_guard lock(mutex_);
  if (task.state_ != ReadTask::State::reading || task.priority_ == ReadPriority::demand) return;
  const bool queued = task.queued_;
  if (queued) unlink(task);
  task.priority_ = ReadPriority::demand;
  if (queued) append(task);
}

void ReadQueue::cancel(ReadTask& task) {
  std::unique_lock lock(mutex_);
  drop(task);
  progress_.wait(lock, [&] { return task.state_ == ReadTask::State::idle; });
}

void ReadQueue::give_up(ReadTask& task) {
  const std::lock_guard lock(mutex_);
  drop(task);
}

void ReadQueue::drop(ReadTask& task) {
  if (task.state_ != ReadTask::State::reading) return;
  if (task.queued_) unlink(task);
  task.state_ = ReadTask::State::cancelling;
  if (task.in_flight_ == 0) end(task);
}

bool ReadQueue::wait_idle(const ReadTask& task, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return progress_.wait_for(lock, patience, [&] { return task.state_ == ReadTask::State::idle; });
}

Result<void> ReadQueue::wait(ReadTask& task, int ranges, const std::atomic<bool>* stop) {
  MOXIE_CHECK(ranges <= task.range_count);
  if (arrived(task, ranges)) return {};
  std::unique_lock lock(mutex_);
  for (;;) {
    if (arrived(task, ranges)) return {};
    if (task.state_ == ReadTask::State::idle) {
      if (failed(task)) return task.error_;
      return Error{ErrorCode::cancelled, "the read was given up"};
    }
    if (stop == nullptr) {
      progress_.wait(lock);
    } else {
      if (stop->load(std::memory_order_relaxed)) return Error{ErrorCode::cancelled, "cancelled while reading"};
      progress_.wait_for(lock, kStopCheck);  // whoever sets *stop does not know whom to wake
    }
  }
}

int64_t ReadQueue::demand_pieces() const {
  const std::lock_guard lock(mutex_);
  int64_t pieces = demand_in_flight_;
  for (const ReadTask* task = demand_.first; task != nullptr; task = task->next_) {
    for (int i = task->cursor_range_; i < task->range_count; ++i) {
      const ReadRange& range = task->ranges[static_cast<size_t>(i)];
      if (range.bytes == 0) continue;
      const uint64_t from = i == task->cursor_range_ ? task->cursor_ : down(range.offset);
      const uint64_t bytes = up(range.offset + range.bytes) - from;
      pieces += static_cast<int64_t>((bytes + setting_.piece_bytes - 1) / setting_.piece_bytes);
    }
  }
  return pieces;
}

DiskReaderStats ReadQueue::stats() const {
  const std::lock_guard lock(mutex_);
  DiskReaderStats stats = stats_;
  if (in_flight_ > 0) stats.busy_seconds += std::chrono::duration<double>(Clock::now() - busy_since_).count();
  return stats;
}

void ReadQueue::set(Setting setting) {
  MOXIE_CHECK(setting.piece_bytes > 0 && setting.piece_bytes <= DiskReader::kMaxPieceBytes &&
              setting.piece_bytes % alignment_ == 0);
  MOXIE_CHECK(setting.depth > 0 && setting.depth <= DiskReader::kMaxDepth);
  const std::lock_guard lock(mutex_);
  setting_ = setting;
  keeper_.reset();
  work_.notify_all();
}

void ReadQueue::keep_tuned() {
  std::vector<Setting> others;
  for (const Setting& setting : ReadTuner::grid()) {
    if (setting.piece_bytes % alignment_ == 0) others.push_back(setting);
  }
  const std::lock_guard lock(mutex_);
  if (!others.empty()) keeper_.emplace(setting_, others);
}

ReadQueue::Setting ReadQueue::setting() const {
  const std::lock_guard lock(mutex_);
  return setting_;
}

void ReadQueue::stop() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  for (List* tasks : {&demand_, &lookahead_}) {
    while (tasks->first != nullptr) {
      ReadTask& task = *tasks->first;
      unlink(task);
      task.state_ = ReadTask::State::cancelling;
      if (task.in_flight_ == 0) end(task);
    }
  }
  work_.notify_all();
  progress_.wait(lock, [&] { return in_flight_ == 0; });
}

bool ReadQueue::stopped() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void ReadQueue::notice(std::string text) {
  const std::lock_guard lock(mutex_);
  notices_.push_back(std::move(text));
}

std::vector<std::string> ReadQueue::notices() const {
  const std::lock_guard lock(mutex_);
  return notices_;
}

// ---- cutting tasks into pieces ----

bool ReadQueue::joins(const ReadRange& before, const ReadRange& range) const {
  const uint64_t end = before.offset + before.bytes;
  return before.file == range.file && range.offset >= end && down(range.offset) <= up(end) &&
         reinterpret_cast<uintptr_t>(before.into) - before.offset ==
             reinterpret_cast<uintptr_t>(range.into) - range.offset;
}

void ReadQueue::plan(ReadTask& task) const {
  const ReadRange* before = nullptr;  // the last one that is not empty
  for (size_t i = 0; i < static_cast<size_t>(task.range_count); ++i) {
    const ReadRange& range = task.ranges[i];
    task.missing_[i] = range.bytes;
    task.joined_[i] = i > 0 && (range.bytes == 0 || (before != nullptr && joins(*before, range)));
    if (range.bytes > 0) before = &range;
  }
  check_apart(task);
  task.cursor_ = 0;
  move_to_range(task, 0);
}

// Blocks of memory that two reads write at once would hold either's bytes in the end.
void ReadQueue::check_apart(const ReadTask& task) const {
  for (int a = 0; a < task.range_count; ++a) {
    bool joined = true;
    for (int b = a + 1; b < task.range_count; ++b) {
      const ReadRange& first = task.ranges[static_cast<size_t>(a)];
      const ReadRange& second = task.ranges[static_cast<size_t>(b)];
      joined = joined && task.joined_[static_cast<size_t>(b)];
      if (joined || first.bytes == 0 || second.bytes == 0) continue;
      // Offsets and addresses are equal modulo the alignment, so blocks of the file are blocks of memory.
      const auto from_first = reinterpret_cast<uintptr_t>(first.into),
                 from_second = reinterpret_cast<uintptr_t>(second.into);
      MOXIE_CHECK(up(from_first + first.bytes) <= down(from_second) ||
                  up(from_second + second.bytes) <= down(from_first));
    }
  }
}

// Sets the cursor to the first byte to read of `range`, or of one behind it if nothing of it is left to read.
void ReadQueue::move_to_range(ReadTask& task, int range) const {
  for (; range < task.range_count; ++range) {
    const ReadRange& next = task.ranges[static_cast<size_t>(range)];
    if (next.bytes == 0) continue;
    // A joined range may begin, or even end, in the block that was read as the last one of the range before it.
    if (!task.joined_[static_cast<size_t>(range)]) task.cursor_ = down(next.offset);
    if (task.cursor_ < up(next.offset + next.bytes)) break;
  }
  task.cursor_range_ = range;
}

void ReadQueue::cut(ReadTask& task, ReadPiece* piece) const {
  const int first = task.cursor_range_;
  const ReadRange& range = task.ranges[static_cast<size_t>(first)];
  const uint64_t end = up(range.offset + range.bytes);
  *piece = ReadPiece{};
  piece->task = &task;
  piece->priority = task.priority_;
  piece->file = range.file;
  piece->offset = task.cursor_;
  piece->bytes = std::min(setting_.piece_bytes, end - task.cursor_);
  piece->expected = std::min(piece->bytes, files_[static_cast<size_t>(range.file)]->bytes() - task.cursor_);
  // By the difference of addresses: the block around the range may begin before `into`.
  piece->into = range.into - (range.offset - down(range.offset)) + (task.cursor_ - down(range.offset));
  piece->first_range = piece->last_range = first;
  const auto joined = [&](int i) { return i < task.range_count && task.joined_[static_cast<size_t>(i)]; };
  while (joined(piece->last_range + 1)) ++piece->last_range;
  task.cursor_ += piece->bytes;
  if (task.cursor_ == end) move_to_range(task, first + 1);
}

// ---- backends ----

bool ReadQueue::take(ReadPiece* piece) {
  const std::lock_guard lock(mutex_);
  return take_locked(piece);
}

bool ReadQueue::wait_take(ReadPiece* piece) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (take_locked(piece)) return true;
    if (stopping_) return false;
    work_.wait(lock);
  }
}

bool ReadQueue::take_locked(ReadPiece* piece) {
  if (in_flight_ >= setting_.depth) return false;
  ReadTask* task = demand_.first != nullptr ? demand_.first : lookahead_.first;
  if (task == nullptr) return false;
  cut(*task, piece);
  if (task->cursor_range_ == task->range_count) unlink(*task);
  ++task->in_flight_;
  piece->issued = Clock::now();
  if (in_flight_++ == 0) busy_since_ = piece->issued;
  if (piece->priority == ReadPriority::demand) ++demand_in_flight_;
  return true;
}

bool ReadQueue::finish(ReadPiece* piece, int64_t result) {
  if (inject_) {
    ReadOutcome outcome{.file = piece->file,
                        .offset = piece->next_offset(),
                        .bytes = piece->next_bytes(),
                        .into = piece->next_into(),
                        .priority = piece->priority,
                        .attempts = piece->attempts,
                        .result = result};
    inject_(outcome);
    result = outcome.result;
  }
  Judgement judgement = judge(piece, result);
  if (judgement.kind == Judgement::Kind::again) {
    {
      const std::lock_guard lock(mutex_);
      if (piece->task->state_ == ReadTask::State::reading && !stopping_) {
        ++stats_.retries;
        piece->task->retried_ = true;
      } else {
        judgement = {
            Judgement::Kind::failed, {}, {ErrorCode::cancelled, "the reader was closed"}};  // nobody wants it now
      }
    }
    if (judgement.kind == Judgement::Kind::again) {
      if (judgement.pause.count() > 0) std::this_thread::sleep_for(judgement.pause);
      return false;
    }
  }
  const DirectFile& file = *files_[static_cast<size_t>(piece->file)];
  if (!file.direct()) file.forget(piece->offset, piece->bytes);
  settle(*piece, judgement);
  return true;
}

ReadQueue::Judgement ReadQueue::judge(ReadPiece* piece, int64_t result) {
  if (result < 0) return judge_error(piece, static_cast<int>(-result));
  const uint64_t missing = piece->expected - piece->done;
  const uint64_t got = std::min(static_cast<uint64_t>(result), missing);
  if (got == missing) return {};

  // Fewer bytes than the file held when it was opened: either it has changed, or the rest comes with the next read.
  const DirectFile& file = *files_[static_cast<size_t>(piece->file)];
  if (auto unchanged = file.check_unchanged(); !unchanged.ok()) {
    return {Judgement::Kind::failed, {}, std::move(unchanged).error()};
  }
  if (const uint64_t whole = down(got); whole > 0) {
    piece->done += whole;
    return {Judgement::Kind::again, {}, {}};
  }
  if (++piece->attempts < kAttempts) return {Judgement::Kind::again, backoff(piece->attempts), {}};
  return {
      Judgement::Kind::failed,
      {},
      fail(
          ErrorCode::io,
          "{}: reading {} bytes at {} gave only {} of them, {} times: check the drive or the network, or copy the file",
          file.path(), missing, piece->next_offset(), got, kAttempts)};
}

ReadQueue::Judgement ReadQueue::judge_error(ReadPiece* piece, int error) {
  DirectFile& file = *files_[static_cast<size_t>(piece->file)];
  if ((error == EINTR || error == EAGAIN) && ++piece->interruptions < kInterruptions) {
    return {Judgement::Kind::again, std::chrono::milliseconds(error == EAGAIN ? 1 : 0), {}};
  }
  const std::string reason = std::generic_category().message(error);
  if ((error == EINVAL || error == EOPNOTSUPP) && file.direct()) {
    if (file.stop_direct()) {
      notice(fmt::format("{}: the file system refuses direct reads ({}): read through the page cache", file.path(),
                         reason));
    }
    return {Judgement::Kind::again, {}, {}};
  }
  if (auto unchanged = file.check_unchanged(); !unchanged.ok()) {
    return {Judgement::Kind::failed, {}, std::move(unchanged).error()};
  }
  if (++piece->attempts < kAttempts) return {Judgement::Kind::again, backoff(piece->attempts), {}};
  return {Judgement::Kind::failed,
          {},
          fail(ErrorCode::io,
               "{}: reading {} bytes at {} failed {} times: {}: check the drive (dmesg, smartctl), or copy the file to "
               "another one",
               file.path(), piece->next_bytes(), piece->next_offset(), kAttempts, reason)};
}

// ---- results ----

void ReadQueue::settle(ReadPiece& piece, Judgement& judgement) {
  ReadTask& task = *piece.task;
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  --task.in_flight_;
  if (piece.priority == ReadPriority::demand) --demand_in_flight_;
  if (--in_flight_ == 0) {
    stats_.busy_seconds += std::chrono::duration<double>(now - busy_since_).count();
    if (stopping_) progress_.notify_all();
  }
  if (judgement.kind == Judgement::Kind::finished) {
    ++stats_.pieces;
    (piece.priority == ReadPriority::demand ? stats_.demand_bytes : stats_.lookahead_bytes) += piece.expected;
    ++stats_.latency[latency_bucket(now - piece.issued)];
    if (task.state_ == ReadTask::State::reading) count_arrival(piece);
    follow_drive(now);
  } else if (task.state_ == ReadTask::State::reading) {
    if (task.queued_) unlink(task);
    task.error_ = std::move(judgement.error);
    task.state_ = ReadTask::State::failing;
  }
  if (task.in_flight_ == 0 && !task.queued_) end(task);
}

// The sums since keep_tuned() would do as well: a keeper looks at differences.
void ReadQueue::follow_drive(Clock::time_point now) {
  if (!keeper_) return;
  const double open = in_flight_ > 0 ? std::chrono::duration<double>(now - busy_since_).count() : 0;
  if (!keeper_->record(stats_.bytes(), stats_.busy_seconds + open)) return;
  setting_ = keeper_->setting();
  work_.notify_all();
}

void ReadQueue::count_arrival(const ReadPiece& piece) {
  ReadTask& task = *piece.task;
  for (int i = piece.first_range; i <= piece.last_range; ++i) {
    const ReadRange& range = task.ranges[static_cast<size_t>(i)];
    const uint64_t from = std::max(piece.offset, range.offset);
    const uint64_t to = std::min(piece.offset + piece.bytes, range.offset + range.bytes);
    if (from < to) task.missing_[static_cast<size_t>(i)] -= to - from;
  }
  int arrived = task.arrived_.load(std::memory_order_relaxed);
  const int before = arrived;
  while (arrived < task.range_count && task.missing_[static_cast<size_t>(arrived)] == 0) ++arrived;
  if (arrived == before || arrived == task.range_count) return;  // the last one is end()'s to tell
  task.arrived_.store(arrived, std::memory_order_release);
  progress_.notify_all();
}

// No piece is queued or in flight: the task is idle, in one of three ways.
void ReadQueue::end(ReadTask& task) {
  int arrived = 0;
  if (task.state_ == ReadTask::State::reading) arrived = task.range_count;
  if (task.state_ == ReadTask::State::failing) {
    ++stats_.failures;
    arrived = ReadTask::kFailed;
  }
  task.state_ = ReadTask::State::idle;
  // The last touch of the task: who sees this without the lock may destroy it.
  task.arrived_.store(arrived, std::memory_order_release);
  progress_.notify_all();
}

}  // namespace moxie

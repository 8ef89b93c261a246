#include "core/disk_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

namespace moxie {
namespace {

using testing::HasSubstr;
using Backend = DiskReaderOptions::Backend;

constexpr uint64_t kBlock = 4096;

// What byte a test file holds at a place: computed, so that nothing is compared with a copy that a reader made.
std::byte byte_at(int file, uint64_t offset) {
  const uint64_t mixed = (offset + 1) * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(file) * 0xD1B54A32D192ED03u;
  return static_cast<std::byte>(mixed >> 56);
}

// Memory for one range with room for the blocks around it, and with guards around that.
class Room {
 public:
  static constexpr std::byte kGuard{0xEE};

  Room(uint64_t offset, uint64_t bytes, uint64_t alignment = kBlock)
      : alignment_(alignment),
        offset_(offset),
        bytes_(bytes),
        first_(offset / alignment * alignment),
        size_((offset + bytes + alignment - 1) / alignment * alignment - first_ + 2 * alignment),
        data_(static_cast<std::byte*>(std::aligned_alloc(alignment, size_)), &std::free) {
    clear();
  }
  void clear() { std::memset(data_.get(), static_cast<int>(kGuard), size_); }
  std::byte* into() const { return data_.get() + alignment_ + (offset_ - first_); }
  ReadRange range(int file = 0) const { return {file, offset_, bytes_, into()}; }
  bool holds(int file = 0) const {
    for (uint64_t i = 0; i < bytes_; ++i) {
      if (into()[i] != byte_at(file, offset_ + i)) return false;
    }
    for (uint64_t i = 0; i < alignment_; ++i) {
      if (data_.get()[i] != kGuard || data_.get()[size_ - 1 - i] != kGuard) return false;
    }
    return true;
  }

 private:
  uint64_t alignment_, offset_, bytes_, first_, size_;
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
};

// Holds the threads of a reader inside `inject` until opened.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --waiting_;
  }
  void await_somebody() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ > 0; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

struct Way {
  Backend backend;
  bool direct;
};

void PrintTo(const Way& way, std::ostream* out) {
  *out << (way.backend == Backend::threads ? "threads" : "io_uring") << (way.direct ? "_direct" : "_buffered");
}

class DiskReaderTest : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(name.begin(), name.end(), '/', '_');
    folder_ = testing::TempDir() + "/disk_reader_" + name;
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string put(int file, uint64_t bytes, const std::string& suffix = "") const {
    std::vector<std::byte> content(bytes);
    for (uint64_t i = 0; i < bytes; ++i) content[i] = byte_at(file, i);
    std::string path = folder_ + "/" + std::to_string(file) + suffix;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(bytes));
    return path;
  }

  DiskReaderOptions options() const {
    DiskReaderOptions options;
    options.backend = GetParam().backend;
    options.direct = GetParam().direct;
    return options;
  }

  static std::unique_ptr<DiskReader> open(std::vector<std::string> paths, const DiskReaderOptions& options) {
    auto reader = DiskReader::open(paths, options);
    EXPECT_TRUE(reader.ok()) << (reader.ok() ? "" : reader.error().message);
    return reader.ok() ? std::move(reader).value() : nullptr;
  }

  static void set(ReadTask& task, std::initializer_list<ReadRange> ranges) {
    task.range_count = 0;
    for (const ReadRange& range : ranges) task.ranges[static_cast<size_t>(task.range_count++)] = range;
  }

  static void read(DiskReader& reader, ReadTask& task) {
    reader.submit(task, ReadPriority::demand);
    const auto result = reader.wait(task, task.range_count);
    ASSERT_TRUE(result.ok()) << result.error().message;
  }

  std::string folder_;
};

INSTANTIATE_TEST_SUITE_P(Ways, DiskReaderTest,
                         testing::Values(Way{Backend::threads, true}, Way{Backend::threads, false},
                                         Way{Backend::io_uring, true}, Way{Backend::io_uring, false}),
                         testing::PrintToStringParamName());

TEST_P(DiskReaderTest, AnyRangeArrivesAndNothingElseIsWritten) {
  const std::vector<uint64_t> sizes = {3 * 1048576 + 1234, 2 * 1048576, 100, 1};
  std::vector<std::string> paths;
  for (size_t i = 0; i < sizes.size(); ++i) paths.push_back(put(static_cast<int>(i), sizes[i]));
  std::mt19937_64 random(7);
  for (const uint64_t piece : {kBlock, 3 * kBlock, uint64_t{1} << 20}) {
    DiskReaderOptions wanted = options();
    wanted.piece_bytes = piece;
    const auto reader = open(paths, wanted);
    ASSERT_NE(reader, nullptr);
    for (int round = 0; round < 60; ++round) {
      const int file = static_cast<int>(random() % sizes.size());
      const uint64_t size = sizes[static_cast<size_t>(file)];
      const uint64_t offset = random() % size;
      uint64_t bytes = random() % (size - offset + 1);
      if (round % 3 == 0) bytes = size - offset;  // up to the very end
      if (round % 5 == 0) bytes = std::min<uint64_t>(bytes, 9000);
      const Room room(offset, bytes, reader->alignment());
      ReadTask task;
      set(task, {room.range(file)});
      read(*reader, task);
      EXPECT_TRUE(room.holds(file)) << "file " << file << " offset " << offset << " bytes " << bytes << " piece "
                                    << piece;
      EXPECT_TRUE(reader->arrived(task, 1));
      EXPECT_FALSE(reader->failed(task));
    }
    EXPECT_EQ(reader->demand_pieces(), 0);
    EXPECT_EQ(reader->stats().retries, 0u);
    EXPECT_EQ(reader->stats().lookahead_bytes, 0u);
  }
}

TEST_P(DiskReaderTest, EmptyTasksAndRangesAreDoneAtOnce) {
  const auto reader = open({put(0, 10000)}, options());
  ReadTask task;
  read(*reader, task);
  EXPECT_TRUE(reader->arrived(task, 0));

  const Room room(100, 200, reader->alignment());
  set(task, {ReadRange{0, 50, 0, nullptr}, room.range(), ReadRange{0, 10000, 0, nullptr}});
  read(*reader, task);
  EXPECT_TRUE(reader->arrived(task, 3));
  EXPECT_TRUE(room.holds());

  set(task, {ReadRange{0, 0, 0, nullptr}});
  read(*reader, task);
  EXPECT_EQ(reader->stats().pieces, 1u);
}

TEST_P(DiskReaderTest, StatsCountBlocksPiecesAndLatency) {
  const auto reader = open({put(0, 100000)}, [&] {
    DiskReaderOptions wanted = options();
    wanted.piece_bytes = 4 * kBlock;
    return wanted;
  }());
  const Room demand(kBlock + 5, 8 * kBlock, reader->alignment()), lookahead(98000, 2000, reader->alignment());
  ReadTask first, second;
  set(first, {demand.range()});
  set(second, {lookahead.range()});
  read(*reader, first);
  reader->submit(second, ReadPriority::lookahead);
  ASSERT_TRUE(reader->wait(second, 1).ok());
  const DiskReaderStats stats = reader->stats();
  EXPECT_EQ(stats.demand_bytes, 9 * kBlock);
  EXPECT_EQ(stats.lookahead_bytes, 100000 - 23 * kBlock);
  EXPECT_EQ(stats.bytes(), stats.demand_bytes + stats.lookahead_bytes);
  EXPECT_EQ(stats.pieces, 4u);  // 4 + 4 + 1 blocks, and the end
  uint64_t counted = 0;
  for (const uint64_t count : stats.latency) counted += count;
  EXPECT_EQ(counted, stats.pieces);
  EXPECT_GT(stats.busy_seconds, 0);
  EXPECT_EQ(stats.failures, 0u);
}

TEST_P(DiskReaderTest, RangesThatTouchShareTheirBlock) {
  const auto reader = open({put(0, 200000)}, options());
  // Three ranges one behind the other, the second inside one block, as the parts of one expert may lie.
  const Room room(5000, 60000, reader->alignment());
  ReadTask task;
  set(task,
      {{0, 5000, 30000, room.into()}, {0, 35010, 20, room.into() + 30010}, {0, 35030, 29970, room.into() + 30030}});
  read(*reader, task);
  EXPECT_TRUE(room.holds());
  EXPECT_EQ(reader->stats().bytes(), 15 * kBlock);  // blocks 1 to 15, each once

  // Touching in the file but not in memory: both read the block in the middle.
  const Room low(5000, 30000, reader->alignment()), high(35000, 30000, reader->alignment());
  set(task, {low.range(), high.range()});
  read(*reader, task);
  EXPECT_TRUE(low.holds() && high.holds());
  EXPECT_EQ(reader->stats().bytes(), 15 * kBlock + 16 * kBlock);

  // Backwards.
  set(task, {{0, 35000, 30000, room.into() + 30000}, {0, 5000, 30000, room.into()}});
  const_cast<Room&>(room).clear();
  read(*reader, task);
  EXPECT_TRUE(room.holds());
}

TEST_P(DiskReaderTest, EarlierRangesArriveFirst) {
  Gate gate;
  DiskReaderOptions wanted = options();
  wanted.depth = 1;
  wanted.piece_bytes = kBlock;
  wanted.inject = [&](ReadOutcome& outcome) {
    if (outcome.offset == 20 * kBlock) gate.pass();
  };
  const auto reader = open({put(0, 40 * kBlock), put(1, 40 * kBlock)}, wanted);
  const Room gate_room(10, 5 * kBlock, reader->alignment()), up_room(3 * kBlock, 100, reader->alignment()),
      down_room(20 * kBlock, 3 * kBlock, reader->alignment());
  ReadTask task;
  set(task, {gate_room.range(1), up_room.range(0), down_room.range(0)});
  reader->submit(task, ReadPriority::demand);
  ASSERT_TRUE(reader->wait(task, 2).ok());
  EXPECT_TRUE(gate_room.holds(1) && up_room.holds(0));
  EXPECT_TRUE(reader->arrived(task, 2));
  EXPECT_FALSE(reader->arrived(task, 3));
  EXPECT_FALSE(reader->failed(task));
  gate.await_somebody();
  EXPECT_EQ(reader->demand_pieces(), 3);
  gate.open();
  ASSERT_TRUE(reader->wait(task, 3).ok());
  EXPECT_TRUE(down_room.holds(0));
}

// Tasks of `pieces` blocks each, one behind the other in file 0; records in which order they are read at depth 1. The
// first piece of all is held until release().
class OrderTest : public DiskReaderTest {
 protected:
  static constexpr uint64_t kPieces = 3;

  void start(int tasks) {
    DiskReaderOptions wanted = options();
    wanted.depth = 1;
    wanted.piece_bytes = kBlock;
    wanted.inject = [this](ReadOutcome& outcome) {
      {
        const std::lock_guard lock(mutex_);
        order_.push_back(static_cast<int>(outcome.offset / (kPieces * kBlock)));
      }
      gate_.pass();
    };
    reader_ = open({put(0, static_cast<uint64_t>(tasks) * kPieces * kBlock)}, wanted);
    for (int i = 0; i < tasks; ++i) {
      const uint64_t bytes = kPieces * kBlock;
      rooms_.emplace_back(static_cast<uint64_t>(i) * bytes, bytes, reader_->alignment());
      set(tasks_.emplace_back(), {rooms_.back().range()});
    }
  }
  void submit(size_t task, ReadPriority priority) { reader_->submit(tasks_[task], priority); }
  void finish(std::initializer_list<size_t> wanted) {
    gate_.open();
    for (const size_t task : wanted) {
      const auto result = reader_->wait(tasks_[task], 1);
      ASSERT_TRUE(result.ok()) << result.error().message;
      EXPECT_TRUE(rooms_[task].holds());
    }
  }

  std::mutex mutex_;
  std::vector<int> order_;
  Gate gate_;
  std::deque<Room> rooms_;
  std::deque<ReadTask> tasks_;
  std::unique_ptr<DiskReader> reader_;  // dies first
};

INSTANTIATE_TEST_SUITE_P(Ways, OrderTest, testing::Values(Way{Backend::threads, true}, Way{Backend::io_uring, true}),
                         testing::PrintToStringParamName());

TEST_P(OrderTest, DemandGoesBeforeLookahead) {
  start(5);
  for (const size_t task : {0, 1, 2}) submit(task, ReadPriority::lookahead);
  gate_.await_somebody();
  submit(3, ReadPriority::demand);
  submit(4, ReadPriority::demand);
  EXPECT_EQ(reader_->demand_pieces(), 6);
  finish({0, 1, 2, 3, 4});
  EXPECT_THAT(order_, testing::ElementsAre(0, 3, 3, 3, 4, 4, 4, 0, 0, 1, 1, 1, 2, 2, 2));
  EXPECT_EQ(reader_->stats().demand_bytes, 6 * kBlock);
  EXPECT_EQ(reader_->stats().lookahead_bytes, 9 * kBlock);
}

TEST_P(OrderTest, APromotedReadKeepsWhatHasArrived) {
  start(4);
  for (const size_t task : {0, 1, 2, 3}) submit(task, ReadPriority::lookahead);
  gate_.await_somebody();
  reader_->promote(tasks_[2]);
  reader_->promote(tasks_[0]);  // its first piece is in flight
  reader_->promote(tasks_[0]);
  finish({0, 1, 2, 3});
  EXPECT_THAT(order_, testing::ElementsAre(0, 2, 2, 2, 0, 0, 1, 1, 1, 3, 3, 3));
  reader_->promote(tasks_[1]);  // finished: nothing happens
  EXPECT_TRUE(reader_->arrived(tasks_[1], 1));
}

TEST_P(OrderTest, ACancelledReadIssuesNothingMore) {
  start(3);
  for (const size_t task : {0, 1, 2}) submit(task, ReadPriority::demand);
  gate_.await_somebody();
  reader_->cancel(tasks_[1]);  // not begun: returns while the first piece is held
  EXPECT_FALSE(reader_->arrived(tasks_[1], 0 + 1));
  EXPECT_FALSE(reader_->failed(tasks_[1]));
  std::thread opener([&] { gate_.open(); });
  reader_->cancel(tasks_[0]);  // one piece in flight: returns when it has ended
  opener.join();
  EXPECT_FALSE(reader_->arrived(tasks_[0], 1));
  finish({2});
  EXPECT_THAT(order_, testing::ElementsAre(0, 2, 2, 2));
  // Both can be read again.
  submit(1, ReadPriority::demand);
  submit(0, ReadPriority::lookahead);
  finish({0, 1});
  reader_->cancel(tasks_[0]);  // finished before: stays so
  EXPECT_TRUE(reader_->arrived(tasks_[0], 1));
}

TEST_P(OrderTest, CancellingEndsAWait) {
  start(2);
  submit(0, ReadPriority::demand);
  submit(1, ReadPriority::demand);
  gate_.await_somebody();
  std::thread waiter([&] {
    const auto result = reader_->wait(tasks_[1], 1);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::cancelled);
  });
  reader_->cancel(tasks_[1]);
  waiter.join();
  finish({0});
}

TEST_P(OrderTest, AStoppedWaitReturnsAndTheReadGoesOn) {
  start(1);
  submit(0, ReadPriority::demand);
  gate_.await_somebody();
  std::atomic<bool> stop{false};
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    stop = true;
  });
  const auto result = reader_->wait(tasks_[0], 1, &stop);  // returns although its piece is held
  stopper.join();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::cancelled);
  finish({0});
}

TEST_P(OrderTest, ClosingGivesUpWhatIsQueued) {
  start(3);
  for (const size_t task : {0, 1, 2}) submit(task, task == 1 ? ReadPriority::lookahead : ReadPriority::demand);
  gate_.await_somebody();
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    gate_.open();
  });
  reader_.reset();
  opener.join();
  EXPECT_THAT(order_, testing::ElementsAre(0));
}

// ---- failures ----

class FaultTest : public DiskReaderTest {
 protected:
  static constexpr uint64_t kOffset = 1000;
  static constexpr uint64_t kBytes = 50000;

  // Reads one range of file 0 with `fault` called for its n-th piece or retry (from 0), and for all behind it unless it
  // says less.
  void start(std::function<void(int, ReadOutcome&)> fault, uint64_t piece_bytes = uint64_t{1} << 20) {
    DiskReaderOptions wanted = options();
    wanted.depth = 1;
    wanted.piece_bytes = piece_bytes;
    wanted.inject = [this, fault = std::move(fault)](ReadOutcome& outcome) {
      if (armed_) fault(calls_, outcome);
      ++calls_;
    };
    path_ = put(0, 100000);
    reader_ = open({path_}, wanted);
    set(task_, {room_.range()});
  }
  Result<void> read_it() {
    calls_ = 0;
    reader_->submit(task_, ReadPriority::demand);
    return reader_->wait(task_, 1);
  }
  void expect_works_afterwards() {
    armed_ = false;
    const auto result = read_it();
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_TRUE(room_.holds());
  }

  std::string path_;
  Room room_{kOffset, kBytes};
  ReadTask task_;
  std::atomic<int> calls_{0};
  std::atomic<bool> armed_{true};
  std::unique_ptr<DiskReader> reader_;
};

INSTANTIATE_TEST_SUITE_P(Ways, FaultTest,
                         testing::Values(Way{Backend::threads, true}, Way{Backend::threads, false},
                                         Way{Backend::io_uring, true}, Way{Backend::io_uring, false}),
                         testing::PrintToStringParamName());

TEST_P(FaultTest, TwoErrorsAreRetried) {
  start([](int call, ReadOutcome& outcome) {
    if (call > 1) return;
    outcome.result = -EIO;
    std::memset(outcome.into, 0, outcome.bytes);  // the bytes must come from the retry
  });
  const auto result = read_it();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(room_.holds());
  EXPECT_EQ(calls_, 3);
  EXPECT_EQ(reader_->stats().retries, 2u);
  EXPECT_EQ(reader_->stats().failures, 0u);
}

TEST_P(FaultTest, ALastingErrorFailsTheTaskAlone) {
  start([](int, ReadOutcome& outcome) { outcome.result = -EIO; });
  const auto result = read_it();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::io);
  for (const char* part : {"/0: ", "53248 bytes at 0", "Input/output error", "copy the file"}) {
    EXPECT_THAT(result.error().message, HasSubstr(part));
  }
  EXPECT_EQ(calls_, 3);
  EXPECT_TRUE(reader_->failed(task_));
  EXPECT_FALSE(reader_->arrived(task_, 0));
  EXPECT_EQ(reader_->stats().failures, 1u);
  expect_works_afterwards();
  EXPECT_FALSE(reader_->failed(task_));
}

TEST_P(FaultTest, OthersWorkOnBesideAFailure) {
  start(
      [](int, ReadOutcome& outcome) {
        if (outcome.offset >= 40960) outcome.result = -EIO;
      },
      kBlock);
  const Room before(0, 8000, reader_->alignment()), after(9000, 12000, reader_->alignment());
  ReadTask first, second;
  set(first, {before.range()});
  set(second, {after.range()});
  reader_->submit(first, ReadPriority::demand);
  reader_->submit(task_, ReadPriority::demand);
  reader_->submit(second, ReadPriority::lookahead);
  EXPECT_TRUE(reader_->wait(first, 1).ok());
  EXPECT_FALSE(reader_->wait(task_, 1).ok());
  EXPECT_TRUE(reader_->wait(second, 1).ok());
  EXPECT_TRUE(before.holds() && after.holds());
  expect_works_afterwards();
}

TEST_P(FaultTest, ShortReadsAreContinued) {
  for (const int64_t got : {4096, 5000, 12288, 1}) {
    start([got](int call, ReadOutcome& outcome) {
      if (call > 1) return;
      outcome.result = std::min(outcome.result, got);
      const uint64_t whole = static_cast<uint64_t>(outcome.result) / kBlock * kBlock;
      std::memset(outcome.into + whole, 0, outcome.bytes - whole);
    });
    room_.clear();
    const auto result = read_it();
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_TRUE(room_.holds()) << got;
    EXPECT_EQ(calls_, 3);
    EXPECT_EQ(reader_->stats().retries, 2u);
  }
}

TEST_P(FaultTest, NothingAtAllFails) {
  start([](int, ReadOutcome& outcome) { outcome.result = 0; });
  const auto result = read_it();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::io);
  EXPECT_THAT(result.error().message, HasSubstr("gave only 0"));
  expect_works_afterwards();
}

TEST_P(FaultTest, InterruptionsAreNoFailures) {
  start([](int call, ReadOutcome& outcome) {
    if (call < 20) outcome.result = call % 2 == 0 ? -EINTR : -EAGAIN;
  });
  const auto result = read_it();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(room_.holds());
  EXPECT_EQ(calls_, 21);
}

TEST_P(FaultTest, EndlessInterruptionsEnd) {
  start([](int, ReadOutcome& outcome) { outcome.result = -EINTR; });
  const auto result = read_it();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::io);
}

TEST_P(FaultTest, AFileSystemThatRefusesDirectReadsLate) {
  start([](int call, ReadOutcome& outcome) {
    if (call == 0) outcome.result = -EINVAL;
  });
  if (!reader_->notices().empty()) GTEST_SKIP() << reader_->notices().front();
  const auto result = read_it();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(room_.holds());
  EXPECT_THAT(reader_->describe(), HasSubstr("through the page cache"));
  if (GetParam().direct) {
    ASSERT_EQ(reader_->notices().size(), 1u);
    EXPECT_THAT(reader_->notices().front(), HasSubstr(path_));
  } else {
    EXPECT_TRUE(reader_->notices().empty());
  }
}

TEST_P(FaultTest, ATruncatedFileIsNamed) {
  start([](int, ReadOutcome&) {});
  std::filesystem::resize_file(path_, 30000);
  const auto result = read_it();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::corrupt);
  EXPECT_THAT(result.error().message, HasSubstr(path_ + " was truncated from 100000 to 30000 bytes while in use"));
  EXPECT_FALSE(reader_->check_files().ok());
}

TEST_P(FaultTest, AReplacedFileIsNamedOnceAReadFails) {
  start([](int, ReadOutcome& outcome) { outcome.result = -EIO; });
  EXPECT_TRUE(reader_->check_files().ok());
  std::filesystem::rename(put(0, 100000, ".new"), path_);
  const auto result = read_it();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::corrupt);
  EXPECT_THAT(result.error().message, HasSubstr("was replaced while in use"));
  EXPECT_EQ(calls_, 1);       // no use in trying again
  expect_works_afterwards();  // the file that was opened still exists for who has it open
}

TEST_P(FaultTest, ARemovedOrRewrittenFileIsNamed) {
  start([](int, ReadOutcome& outcome) { outcome.result = -EIO; });
  std::filesystem::last_write_time(path_, std::filesystem::last_write_time(path_) + std::chrono::seconds(2));
  auto result = read_it();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::corrupt);
  EXPECT_THAT(result.error().message, HasSubstr("was written to while in use"));
  start([](int, ReadOutcome& outcome) { outcome.result = -EIO; });
  std::filesystem::remove(path_);
  result = read_it();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::corrupt);
}

TEST_P(FaultTest, ARangePastTheEndIsRefused) {
  start([](int, ReadOutcome&) {});
  const Room room(99000, 2000, reader_->alignment());
  ReadTask task;
  set(task, {room_.range(), room.range()});
  reader_->submit(task, ReadPriority::demand);
  const auto result = reader_->wait(task, 1);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::corrupt);
  EXPECT_THAT(result.error().message, HasSubstr("has 100000 bytes, but 2000 bytes at 99000 are needed"));
  EXPECT_TRUE(reader_->failed(task));
  set(task, {ReadRange{0, ~uint64_t{0} - 4095, 8192, room.into() - (99000 % kBlock)}});  // would wrap around
  reader_->submit(task, ReadPriority::demand);
  EXPECT_TRUE(reader_->failed(task));
  EXPECT_EQ(reader_->stats().pieces, 0u);
}

TEST_P(FaultTest, CancellingATaskThatIsBeingRetried) {
  Gate gate;
  start([&](int call, ReadOutcome& outcome) {
    outcome.result = -EIO;
    if (call == 0) gate.pass();
  });
  reader_->submit(task_, ReadPriority::demand);
  gate.await_somebody();
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    gate.open();
  });
  reader_->cancel(task_);
  opener.join();
  EXPECT_EQ(calls_, 1);
  EXPECT_FALSE(reader_->failed(task_));
  expect_works_afterwards();
}

// ---- many at once ----

TEST_P(DiskReaderTest, ManyThreadsSubmitPromoteCancelAndWait) {
  const std::vector<uint64_t> sizes = {1048576 + 77, 700000};
  std::atomic<int> calls{0};
  DiskReaderOptions wanted = options();
  wanted.piece_bytes = 4 * kBlock;
  wanted.inject = [&](ReadOutcome& outcome) {  // now and then something is wrong
    const int call = calls.fetch_add(1);
    if (call % 97 == 3) outcome.result = -EIO;
    if (call % 53 == 7) outcome.result = std::min<int64_t>(outcome.result, 6000);
    if (call % 31 == 9) outcome.result = -EINTR;
  };
  const auto reader = open({put(0, sizes[0]), put(1, sizes[1])}, wanted);
  std::atomic<int> finished{0}, given_up{0}, wrong{0};
  const auto work = [&](int seed) {
    std::mt19937_64 random(static_cast<uint64_t>(seed));
    std::deque<ReadTask> tasks(4);
    for (int round = 0; round < 40; ++round) {
      std::deque<Room> rooms;
      std::vector<int> files;
      for (ReadTask& task : tasks) {
        task.range_count = 1 + static_cast<int>(random() % 3);
        for (int i = 0; i < task.range_count; ++i) {
          files.push_back(static_cast<int>(random() % 2));
          const uint64_t offset = random() % (sizes[static_cast<size_t>(files.back())] - 60000);
          rooms.emplace_back(offset, 1 + random() % 60000, reader->alignment());
          task.ranges[static_cast<size_t>(i)] = rooms.back().range(files.back());
        }
        reader->submit(task, random() % 2 == 0 ? ReadPriority::demand : ReadPriority::lookahead);
      }
      if (random() % 8 == 0) reader->tune((1 + random() % 8) * kBlock, 1 + static_cast<int>(random() % 6));
      size_t room = 0;
      for (ReadTask& task : tasks) {
        const size_t first = room;
        room += static_cast<size_t>(task.range_count);
        if (random() % 3 == 0) reader->promote(task);
        if (random() % 6 == 0) {
          reader->cancel(task);
          ++given_up;
          continue;
        }
        for (int i = 1; i <= task.range_count; ++i) {
          const auto result = reader->wait(task, i);
          const size_t at = first + static_cast<size_t>(i) - 1;
          if (!result.ok() || !rooms[at].holds(files[at])) ++wrong;
        }
        ++finished;
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work, i + 1);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(finished + given_up, 4 * 40 * 4);
  EXPECT_GT(reader->stats().retries, 0u);
  EXPECT_EQ(reader->demand_pieces(), 0);
}

TEST_P(DiskReaderTest, ClosingInFlightIsClean) {
  const std::string path = put(0, 1048576);
  for (int round = 0; round < 20; ++round) {
    std::deque<Room> rooms;
    std::deque<ReadTask> tasks;
    DiskReaderOptions wanted = options();
    wanted.piece_bytes = 2 * kBlock;
    wanted.depth = 3;
    const auto reader = open({path}, wanted);
    for (uint64_t i = 0; i < 10; ++i) {
      rooms.emplace_back(i * 90000 + 7, 90000, reader->alignment());
      set(tasks.emplace_back(), {rooms.back().range()});
      reader->submit(tasks.back(), i % 2 == 0 ? ReadPriority::demand : ReadPriority::lookahead);
    }
    if (round % 2 == 0) {
      ASSERT_TRUE(reader->wait(tasks[static_cast<size_t>(round % 10)], 1).ok());
    }
  }  // the reader dies before the rooms; a task that is not idle then fails the check in its destructor
}

TEST_P(DiskReaderTest, NeverMoreInFlightThanTheDepth) {
  std::atomic<int> now{0}, most{0};
  DiskReaderOptions wanted = options();
  wanted.backend = Backend::threads;
  wanted.depth = 2;
  wanted.piece_bytes = kBlock;
  wanted.inject = [&](ReadOutcome&) {
    const int count = ++now;
    int seen = most;
    while (count > seen && !most.compare_exchange_weak(seen, count)) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    --now;
  };
  const auto reader = open({put(0, 100 * kBlock)}, wanted);
  const Room room(0, 100 * kBlock, reader->alignment());
  ReadTask task;
  set(task, {room.range()});
  read(*reader, task);
  EXPECT_LE(most, 2);
  reader->tune(kBlock, 7);
  most = 0;
  read(*reader, task);
  EXPECT_LE(most, 7);
  EXPECT_EQ(reader->depth(), 7);
}

// ---- opening ----

TEST_P(DiskReaderTest, OpeningSaysWhatIsWrong) {
  const std::string path = put(0, 5000);
  const auto open_error = [&](const std::string& name, DiskReaderOptions wanted) {
    const std::vector<std::string> paths = {path, name};
    auto reader = DiskReader::open(paths, wanted);
    EXPECT_FALSE(reader.ok());
    return reader.ok() ? Error{} : reader.error();
  };
  EXPECT_EQ(open_error(path + "x", options()).code, ErrorCode::not_found);
  EXPECT_THAT(open_error(path + "x", options()).message, HasSubstr(path + "x: cannot open: No such file"));
  EXPECT_EQ(open_error(folder_, options()).code, ErrorCode::invalid_argument);
  DiskReaderOptions wanted = options();
  wanted.depth = 65;
  EXPECT_EQ(open_error(path, wanted).code, ErrorCode::invalid_argument);
  wanted.depth = 0;
  wanted.piece_bytes = 5000;
  EXPECT_EQ(open_error(path, wanted).code, ErrorCode::invalid_argument);
  wanted.piece_bytes = uint64_t{128} << 20;
  EXPECT_EQ(open_error(path, wanted).code, ErrorCode::invalid_argument);
}

TEST_P(DiskReaderTest, DescribesItself) {
  DiskReaderOptions wanted = options();
  wanted.depth = 1;
  wanted.piece_bytes = 256 * 1024;
  const std::string path = put(0, 5000);
  auto reader = open({path}, wanted);
  EXPECT_THAT(reader->describe(), HasSubstr(", 1 piece of 256 KiB in flight"));
  if (reader->notices().empty()) {
    EXPECT_THAT(reader->describe(), HasSubstr(GetParam().backend == Backend::threads ? "threads, " : "io_uring, "));
    EXPECT_THAT(reader->describe(), HasSubstr(GetParam().direct ? ", O_DIRECT, " : ", through the page cache, "));
  }
  reader->tune(2 << 20, 6);
  EXPECT_THAT(reader->describe(), HasSubstr(", 6 pieces of 2 MiB in flight"));
  EXPECT_EQ(reader->file_bytes(0), 5000u);
  EXPECT_EQ(reader->alignment() % kBlock, 0u);
}

TEST_P(DiskReaderTest, FilesInMemoryWorkToo) {
  if (!std::filesystem::is_directory("/dev/shm")) GTEST_SKIP() << "no /dev/shm";
  const std::string path = "/dev/shm/moxie_disk_reader_" + std::to_string(std::random_device()());
  std::filesystem::copy_file(put(0, 300001), path);
  const auto reader = open({path}, options());
  const Room room(12345, 300001 - 12345, reader->alignment());
  ReadTask task;
  set(task, {room.range()});
  read(*reader, task);
  EXPECT_TRUE(room.holds());
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace moxie

#include "core/disk_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <deque>
#include <random>
#include <thread>

#include "core/read_keeper.h"
#include "support/disk_reader_fixture.h"

namespace moxie {
namespace {

using testing::HasSubstr;
using namespace disk_reader_testing;

INSTANTIATE_TEST_SUITE_P(Ways, DiskReaderTest, testing::ValuesIn(kWays), testing::PrintToStringParamName());

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
  const auto reader = open({put(0, 200000), put(1, 1)}, options());
  // Three ranges one behind the other, the second inside one block, as the parts of one expert may lie.
  Room room(5000, 60000, reader->alignment());
  ReadTask task;
  set(task,
      {{0, 5000, 30000, room.into()}, {0, 35010, 20, room.into() + 30010}, {0, 35030, 29970, room.into() + 30030}});
  read(*reader, task);
  EXPECT_TRUE(room.holds());
  EXPECT_EQ(reader->stats().bytes(), 15 * kBlock);  // blocks 1 to 15, each once
  room.clear();
  set(task, {{0, 5000, 30000, room.into()}, {1, 0, 0, nullptr}, {0, 35000, 30000, room.into() + 30000}});
  read(*reader, task);
  EXPECT_TRUE(room.holds());
  EXPECT_EQ(reader->stats().bytes(), 2 * 15 * kBlock);

  // Touching in the file but not in memory: both read the block in the middle.
  const Room low(5000, 30000, reader->alignment()), high(35000, 30000, reader->alignment());
  set(task, {low.range(), high.range()});
  read(*reader, task);
  EXPECT_TRUE(low.holds() && high.holds());
  EXPECT_EQ(reader->stats().bytes(), (30 + 16) * kBlock);

  // Backwards: the same, since a later range may not share memory with an earlier one.
  set(task, {high.range(), low.range()});
  read(*reader, task);
  EXPECT_TRUE(low.holds() && high.holds());
}

TEST_P(DiskReaderTest, RangesThatWouldOverwriteEachOtherAreABug) {
  const std::vector<std::string> paths = {put(0, 200000), put(1, 200000)};
  const Room room(5000, 60000);
  const auto submit =
      [&](std::initializer_list<ReadRange> ranges) {  // starts no thread in the process of the other tests
        const auto reader = open(paths, options());
        ReadTask task;
        set(task, ranges);
        reader->submit(task, ReadPriority::demand);
      };
  EXPECT_DEATH(submit({{0, 35000, 30000, room.into() + 30000}, {0, 5000, 30000, room.into()}}), "internal error");
  EXPECT_DEATH(submit({{0, 5000, 30000, room.into()}, {1, 35000, 30000, room.into() + 30000}}), "internal error");
  EXPECT_DEATH(submit({{0, 5001, 30000, room.into()}}), "internal error");
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

INSTANTIATE_TEST_SUITE_P(Ways, OrderTest, testing::ValuesIn(kDirectWays), testing::PrintToStringParamName());

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
  EXPECT_FALSE(reader_->arrived(tasks_[1], 1));
  EXPECT_FALSE(reader_->failed(tasks_[1]));
  std::thread opener([&] {
    while (reader_->demand_pieces() != 1 + kPieces) std::this_thread::yield();  // until the rest of task 0 is given up
    gate_.open();
  });
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
  // The reader lives until the piece that is held has ended, so beyond the wait.
  std::thread waiter([&, reader = reader_.get()] {
    const auto result = reader->wait(tasks_[2], 1);
    EXPECT_FALSE(result.ok());
    gate_.open();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  reader_.reset();
  waiter.join();
  EXPECT_THAT(order_, testing::ElementsAre(0));
}

// ---- many at once ----

TEST_P(DiskReaderTest, ManyThreadsSubmitPromoteCancelAndWait) {
  const std::vector<uint64_t> sizes = {1048576 + 77, 700000};
  std::atomic<int> calls{0};
  DiskReaderOptions wanted = options();
  wanted.piece_bytes = 4 * kBlock;
  wanted.inject = [&](ReadOutcome& outcome) {  // now and then something is wrong
    const int call = calls.fetch_add(1);
    if (call % 41 == 3 && outcome.attempts < 2) outcome.result = -EIO;
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
  threads.reserve(4);
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

// The first contest comes after seven windows; whatever is tried, the bytes are right.
TEST_P(DiskReaderTest, ASettingThatFollowsTheDriveReadsTheSame) {
  constexpr uint64_t kBytes = 4096 * kBlock;
  const auto reader = open({put(0, kBytes)}, options());
  reader->keep_tuned();
  const auto first = std::pair(reader->piece_bytes(), reader->depth());
  bool tried = false;
  Room room(0, kBytes, reader->alignment());
  for (uint64_t bytes = 0; bytes < 9 * ReadKeeper::kWindowBytes && !tried; bytes += kBytes) {
    ReadTask task;
    set(task, {room.range()});
    read(*reader, task);
    tried = first != std::pair(reader->piece_bytes(), reader->depth());
  }
  EXPECT_TRUE(tried);
  ReadTask task;
  set(task, {room.range()});
  room.clear();
  read(*reader, task);
  EXPECT_TRUE(room.holds());
  reader->tune(kBlock, 3);  // ends it
  EXPECT_EQ(reader->depth(), 3);
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

TEST_P(DiskReaderTest, GivingUpDoesNotWaitForWhatIsInFlight) {
  Gate gate;
  std::atomic<bool> held{true};
  DiskReaderOptions wanted = options();
  wanted.inject = [&](ReadOutcome&) {
    if (held) gate.pass();
  };
  const auto reader = open({put(0, 200000)}, wanted);
  const Room room(1000, 150000, reader->alignment());
  ReadTask task;
  set(task, {room.range()});
  EXPECT_TRUE(reader->idle(task));
  reader->submit(task, ReadPriority::lookahead);
  gate.await_somebody();
  reader->give_up(task);
  reader->give_up(task);
  EXPECT_FALSE(reader->idle(task));
  EXPECT_FALSE(reader->wait_idle(task, std::chrono::milliseconds(5)));
  EXPECT_EQ(reader->wait(task, 1, &held).error().code, ErrorCode::cancelled);
  held = false;
  gate.open();
  while (!reader->wait_idle(task, std::chrono::milliseconds(1000))) {
  }
  EXPECT_FALSE(reader->arrived(task, 1) || reader->failed(task));
  read(*reader, task);
  EXPECT_TRUE(room.holds());
}

TEST_P(DiskReaderTest, ContentsAreWhatTheyWereHoweverTheNameChanges) {
  const std::string path = put(0, 50000);
  const auto reader = open({path}, options());
  EXPECT_TRUE(reader->check_contents().ok());
  std::filesystem::rename(put(1, 50000), path);
  EXPECT_EQ(reader->check_files().error().code, ErrorCode::corrupt);
  EXPECT_TRUE(reader->check_contents().ok());

  const std::string other = put(2, 50000);
  const auto second = open({other}, options());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // a file system's clock ticks
  std::fstream(other, std::ios::in | std::ios::out | std::ios::binary) << "changed";
  const auto changed = second->check_contents();
  ASSERT_FALSE(changed.ok());
  EXPECT_EQ(changed.error().code, ErrorCode::corrupt);
  EXPECT_THAT(changed.error().message, HasSubstr(other + " was written to while in use"));
}

TEST_P(DiskReaderTest, AlignmentIsKnownBeforeOpening) {
  const std::vector<std::string> paths = {put(0, 5000), put(1, 100)};
  DiskReaderOptions wanted = options();
  EXPECT_EQ(DiskReader::alignment_of(paths, wanted).value(), open(paths, wanted)->alignment());
  wanted.min_alignment = 32768;
  EXPECT_EQ(DiskReader::alignment_of(paths, wanted).value(), 32768u);
  EXPECT_EQ(open(paths, wanted)->alignment(), 32768u);
  EXPECT_EQ(DiskReader::alignment_of(std::vector<std::string>{folder_ + "/absent"}, wanted).error().code,
            ErrorCode::not_found);
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

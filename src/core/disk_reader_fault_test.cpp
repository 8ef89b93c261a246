#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <thread>

#ifdef __linux__
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#endif

#include "core/disk_reader.h"
#include "support/disk_reader_fixture.h"

namespace moxie {
namespace {

using testing::HasSubstr;
using namespace disk_reader_testing;

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

INSTANTIATE_TEST_SUITE_P(Ways, FaultTest, testing::ValuesIn(kWays), testing::PrintToStringParamName());

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
  start(
      [&](int call, ReadOutcome& outcome) {
        outcome.result = -EIO;
        if (call == 0) gate.pass();
      },
      kBlock);
  reader_->submit(task_, ReadPriority::demand);
  gate.await_somebody();
  std::thread opener([&] {
    while (reader_->demand_pieces() != 1) std::this_thread::yield();  // until the rest is given up
    gate.open();
  });
  reader_->cancel(task_);
  opener.join();
  EXPECT_EQ(calls_, 1);
  EXPECT_FALSE(reader_->failed(task_));
  expect_works_afterwards();
}

// ---- systems that refuse ----

#ifdef __linux__

// How many pages of a file are in the page cache.
int64_t cached_pages(int descriptor, uint64_t bytes) {
  void* data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (data == MAP_FAILED) return -1;
  std::vector<unsigned char> pages((bytes + kBlock - 1) / kBlock);
  const bool known = ::sysconf(_SC_PAGESIZE) == static_cast<long>(kBlock) && ::mincore(data, bytes, pages.data()) == 0;
  ::munmap(data, bytes);
  return known ? std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; }) : -1;
}

TEST_P(DiskReaderTest, ThePageCacheKeepsNoSecondCopy) {
  constexpr uint64_t kBytes = 5 << 20;
  const std::string path = put(0, kBytes);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  ASSERT_EQ(::fsync(descriptor), 0);  // what is not written yet cannot be forgotten
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  const bool forgets = cached_pages(descriptor, kBytes) == 0;
  if (forgets) {
    const auto reader = open({path}, options());
    const Room room(100, kBytes - 100, reader->alignment());
    ReadTask task;
    set(task, {room.range()});
    read(*reader, task);
    EXPECT_TRUE(room.holds());
    // All but a few: one that the kernel is busy with just then stays.
    EXPECT_LE(cached_pages(descriptor, kBytes), static_cast<int64_t>(kBytes / kBlock / 20));
  }
  ::close(descriptor);
  if (!forgets) GTEST_SKIP() << "a file system in memory, or one that forgets nothing";
}

constexpr int kCannotRefuse = 77;

// From now on this process gets `error` from system call `number`, if its third argument has one of `bits` or bits is
// 0.
bool refuse(uint32_t number, uint32_t bits, uint32_t error) {
  const sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, static_cast<uint8_t>(bits == 0 ? 0 : 1)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), const_cast<sock_filter*>(filter)};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

class RefusalTest : public DiskReaderTest {
 protected:
  // In a process of its own, where `number` is refused: reads a file, and expects a notice and a description with these
  // texts.
  void expect_fallback(uint32_t number, uint32_t bits, uint32_t error, const std::string& notice,
                       const std::string& description) {
    const std::string path = put(0, 100000);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) ::_exit(refuse(number, bits, error) ? read_refused(path, notice, description) : kCannotRefuse);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == kCannotRefuse) GTEST_SKIP() << "this system has no seccomp filters";
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }

 private:
  int read_refused(const std::string& path, const std::string& notice, const std::string& description) const {
    const std::vector<std::string> paths = {path};
    auto reader = DiskReader::open(paths, options());
    if (!reader.ok()) {
      std::fprintf(stderr, "%s\n", reader.error().message.c_str());
      return 1;
    }
    const Room room(1000, 90000, (*reader)->alignment());
    ReadTask task;
    set(task, {room.range()});
    (*reader)->submit(task, ReadPriority::demand);
    if (!(*reader)->wait(task, 1).ok() || !room.holds()) return 2;
    bool said = false;
    for (const std::string& text : (*reader)->notices()) said = said || text.find(notice) != std::string::npos;
    if (!said) return 3;
    return (*reader)->describe().find(description) == std::string::npos ? 4 : 0;
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, RefusalTest, testing::Values(Way{Backend::io_uring, true}),
                         testing::PrintToStringParamName());

#ifdef SYS_io_uring_setup
TEST_P(RefusalTest, WithoutRingsThreadsRead) {
  expect_fallback(SYS_io_uring_setup, 0, EPERM, "io_uring cannot be used (", "threads, ");
  expect_fallback(SYS_io_uring_setup, 0, ENOSYS, ": 4 threads read instead", "threads, ");
  expect_fallback(SYS_io_uring_setup, 0, ENOMEM, "io_uring cannot be used (", "threads, ");
}
#endif

TEST_P(RefusalTest, WithoutDirectReadsThePageCacheIsUsed) {
  auto reader = open({put(0, 5000)}, options());
  if (reader->describe().find("O_DIRECT") == std::string::npos) GTEST_SKIP() << reader->notices().front();
  reader.reset();  // a process with threads should not fork
  expect_fallback(SYS_openat, O_DIRECT, EINVAL, "/0: the file system refuses direct reads (Invalid argument)",
                  "through the page cache");
}

#endif

}  // namespace
}  // namespace moxie

#include "core/watched_mapping.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "core/fail.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFileBytes = 300'001;

class WatchedMappingTest : public testing::Test {
 protected:
  void SetUp() override { write(kFileBytes); }
  void TearDown() override { fs::remove(path_); }
  void write(size_t bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << std::string(bytes, '\x5A');
    // A file system's clock may tick slowly: what is written from now on gets another time.
    fs::last_write_time(path_, fs::file_time_type::clock::now() - std::chrono::hours(1));
  }
  static int sum(const WatchedMapping& mapping, size_t from = 0) {
    int all = 0;
    for (size_t i = from; i < mapping.bytes(); i += 64) all += static_cast<int>(mapping.data()[i]);
    return all;
  }

  const fs::path path_ = fs::path(testing::TempDir()) / ("moxie-watched-" + std::to_string(::getpid()));
};

TEST_F(WatchedMappingTest, AFileThatStaysIsThere) {
  const auto mapping = WatchedMapping::open(path_.string());
  ASSERT_TRUE(mapping.ok()) << mapping.error().message;
  EXPECT_EQ(mapping->bytes(), kFileBytes);
  EXPECT_GT(sum(*mapping), 0);
  EXPECT_TRUE(mapping->check().ok());
  EXPECT_EQ(WatchedMapping::open(path_.string() + ".absent").error().code, ErrorCode::not_found);
}

TEST_F(WatchedMappingTest, WhatWasCutReadsAsZerosAndIsTold) {
  const auto mapping = WatchedMapping::open(path_.string());
  ASSERT_TRUE(mapping.ok());
  const auto other = WatchedMapping::open(path_.string());
  ASSERT_TRUE(other.ok());
  for (int round = 0; round < 2; ++round) {  // pages are asked for anew after a check
    fs::resize_file(path_, 8192);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_EQ(sum(*mapping, 8192), 0); });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(mapping->data()[8191], std::byte{0x5A});
    const auto told = mapping->check();
    ASSERT_FALSE(told.ok());
    EXPECT_EQ(told.error().code, ErrorCode::corrupt);
    EXPECT_NE(told.error().message.find("truncated from 300001 to 8192 bytes"), std::string::npos)
        << told.error().message;
  }
  EXPECT_FALSE(other->check().ok()) << "also who has not read it";
  write(kFileBytes);
  EXPECT_EQ(mapping->data()[kFileBytes - 1], std::byte{0x5A});
}

TEST_F(WatchedMappingTest, WhatWasWrittenToIsTold) {
  const auto mapping = WatchedMapping::open(path_.string());
  ASSERT_TRUE(mapping.ok());
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(1000);
  file.put('x').flush();
  ASSERT_FALSE(mapping->check().ok());
  EXPECT_NE(mapping->check().error().message.find("written to while in use"), std::string::npos);
}

TEST_F(WatchedMappingTest, AReplacedFileIsThereAsItWas) {
  const auto mapping = WatchedMapping::open(path_.string());
  ASSERT_TRUE(mapping.ok());
  const fs::path other = path_.string() + ".other";
  std::ofstream(other) << "something else";
  fs::rename(other, path_);
  EXPECT_GT(sum(*mapping), 0);
  EXPECT_TRUE(mapping->check().ok());
}

TEST_F(WatchedMappingTest, AnEmptyFileHasNothingToWatch) {
  write(0);
  const auto mapping = WatchedMapping::open(path_.string());
  ASSERT_TRUE(mapping.ok()) << mapping.error().message;
  EXPECT_EQ(mapping->bytes(), 0u);
  EXPECT_TRUE(mapping->check().ok());
}

// Faults that are not of a watched mapping go where they went before: to the system, or to another handler.
TEST_F(WatchedMappingTest, OtherFaultsAreLeftAlone) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto fault = [&] {
    const auto watched = WatchedMapping::open(path_.string());
    if (!watched.ok()) std::_Exit(1);
    Mapping plain = File::open(path_.string())->map().value();
    fs::resize_file(path_, 0);
    fs::remove(path_);
    volatile std::byte first = plain.data()[0];
    static_cast<void>(first);
    std::_Exit(2);
  };
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these have handlers of their own
  EXPECT_EXIT(fault(), testing::KilledBySignal(SIGBUS), "");
#endif
  write(kFileBytes);
  EXPECT_EXIT(
      {
        signal(SIGBUS, [](int) { std::_Exit(77); });
        fault();
      },
      testing::ExitedWithCode(77), "");
}

void* repaired_page = nullptr;
volatile sig_atomic_t repairs = 0;

void repair(int, siginfo_t* info, void*) {
  if (info->si_addr != repaired_page) std::_Exit(3);
  ::mmap(repaired_page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  repairs = repairs + 1;
}

// Another handler that repairs its own faults and returns is asked again and again, and watched mappings go on.
TEST_F(WatchedMappingTest, BesideAHandlerThatRepairs) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        struct sigaction action = {};
        action.sa_sigaction = repair;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGBUS, &action, nullptr);
        const auto watched = WatchedMapping::open(path_.string());
        if (!watched.ok()) std::_Exit(1);
        const Mapping first = File::open(path_.string())->map().value();
        const Mapping second = File::open(path_.string())->map().value();
        fs::resize_file(path_, 0);
        fs::remove(path_);
        for (const Mapping* plain : {&first, &second}) {
          repaired_page = const_cast<std::byte*>(plain->data());
          volatile std::byte byte = plain->data()[0];
          static_cast<void>(byte);
          if (sum(*watched) != 0 || watched->check().ok()) std::_Exit(2);
        }
        std::_Exit(repairs == 2 ? 77 : 4);
      },
      testing::ExitedWithCode(77), "");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(WatchedMappingTest, ASignalThatWasSentDoesWhatItDoes) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        const auto watched = WatchedMapping::open(path_.string());
        fs::remove(path_);
        ::kill(::getpid(), SIGBUS);
        std::_Exit(watched.ok() ? 2 : 1);
      },
      testing::KilledBySignal(SIGBUS), "");
}
#endif

TEST_F(WatchedMappingTest, MoreThanThereIsRoomForAreRefused) {
  std::vector<WatchedMapping> all;
  for (int i = 0; i <= WatchedMapping::kMost; ++i) {
    auto mapping = WatchedMapping::open(path_.string());
    if (!mapping.ok()) {
      // Files may be scarcer than mappings.
      EXPECT_TRUE(mapping.error().code == ErrorCode::unsupported || mapping.error().code == ErrorCode::io)
          << mapping.error().message;
      break;
    }
    all.push_back(std::move(*mapping));
  }
  EXPECT_LE(all.size(), static_cast<size_t>(WatchedMapping::kMost));
  all.clear();
  EXPECT_TRUE(WatchedMapping::open(path_.string()).ok());
}

}  // namespace
}  // namespace moxie

// For tests of the disk reader: files whose bytes are computed, memory with guards, a gate that holds reads back, and a
// fixture that runs with each backend, past the page cache and through it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/disk_reader.h"

namespace moxie::disk_reader_testing {

using Backend = DiskReaderOptions::Backend;

constexpr uint64_t kBlock = 4096;

// What byte a test file holds at a place: computed, so that nothing is compared with a copy that a reader made.
inline std::byte byte_at(int file, uint64_t offset) {
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

inline void PrintTo(const Way& way, std::ostream* out) {
  *out << (way.backend == Backend::threads ? "threads" : "io_uring") << (way.direct ? "_direct" : "_buffered");
}

inline const std::vector<Way> kDirectWays = {{Backend::threads, true}, {Backend::io_uring, true}};
inline const std::vector<Way> kWays = {
    {Backend::threads, true}, {Backend::threads, false}, {Backend::io_uring, true}, {Backend::io_uring, false}};

// Where io_uring or O_DIRECT are not to be had, those ways test what stands in for them.
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

}  // namespace moxie::disk_reader_testing

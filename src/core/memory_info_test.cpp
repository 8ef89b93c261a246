#include "core/memory_info.h"
#include "core/byte_units.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace moxie {
namespace {

// A tree of system files in the test's own folder.
class MemoryInfoTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/memory_info_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_ + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  void put_machine() {
    put("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n");
  }
  void put_v2(const std::string& group) {
    put("/proc/self/mountinfo", "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::" + group + "\n");
  }

  std::string root_;
};

TEST_F(MemoryInfoTest, MachineAndProcess) {
  put_machine();
  put("/proc/self/status", "Name:\tmoxie\nVmPeak:\t 9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n");
  const MemoryInfo info = read_memory_info(root_);
  EXPECT_EQ(info.total_bytes, 8192 * kMiB);
  EXPECT_EQ(info.available_bytes, 4096 * kMiB);
  EXPECT_EQ(info.resident_peak_bytes, 2 * kMiB);
  EXPECT_EQ(info.resident_bytes, 1 * kMiB);
  EXPECT_FALSE(info.cgroup_limit_bytes.has_value());
  EXPECT_EQ(info.limit_bytes(), 8192 * kMiB);
  EXPECT_EQ(info.room_bytes(), 4096 * kMiB);
}

TEST_F(MemoryInfoTest, CgroupV2TakesTheTightestAncestorAndCreditsDroppableCache) {
  put_machine();
  put_v2("/a/b");
  put("/sys/fs/cgroup/a/b/memory.max", "max\n");
  put("/sys/fs/cgroup/a/b/memory.current", "1048576\n");
  put("/sys/fs/cgroup/a/memory.max", "1073741824\n");                                       // 1024 MiB
  put("/sys/fs/cgroup/a/memory.current", "629145600\n");                                    // 600 MiB
  put("/sys/fs/cgroup/a/memory.stat", "anon 1\nactive_file 7\ninactive_file 104857600\n");  // 100 MiB
  const MemoryInfo info = read_memory_info(root_);
  EXPECT_EQ(info.cgroup_limit_bytes, 1024 * kMiB);
  EXPECT_EQ(info.cgroup_room_bytes, 524 * kMiB);
  EXPECT_EQ(info.limit_bytes(), 1024 * kMiB);
  EXPECT_EQ(info.room_bytes(), 524 * kMiB);
}

TEST_F(MemoryInfoTest, MemoryHighIsALimitToo) {
  put_v2("/a");
  put("/sys/fs/cgroup/a/memory.max", "1073741824\n");
  put("/sys/fs/cgroup/a/memory.high", "536870912\n");
  EXPECT_EQ(read_memory_info(root_).cgroup_limit_bytes, 512 * kMiB);
}

TEST_F(MemoryInfoTest, CgroupV1BesideAnEmptyV2) {
  put("/proc/self/mountinfo",
      "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
  put("/proc/self/cgroup", "4:memory:/job/1\n0::/\n");
  put("/sys/fs/cgroup/memory/job/1/memory.limit_in_bytes", "268435456\n");
  put("/sys/fs/cgroup/memory/job/1/memory.usage_in_bytes", "67108864\n");
  put("/sys/fs/cgroup/memory/job/1/memory.stat", "inactive_file 1\ntotal_inactive_file 33554432\n");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const MemoryInfo info = read_memory_info(root_);
  EXPECT_EQ(info.cgroup_limit_bytes, 256 * kMiB);
  EXPECT_EQ(info.cgroup_room_bytes, 224 * kMiB);
}

TEST_F(MemoryInfoTest, UseAboveTheLimitLeavesNoRoom) {
  put_v2("/a");
  put("/sys/fs/cgroup/a/memory.max", "1048576\n");
  put("/sys/fs/cgroup/a/memory.current", "2097152\n");
  EXPECT_EQ(read_memory_info(root_).cgroup_room_bytes, 0u);
}

TEST_F(MemoryInfoTest, OddTextIsUnknown) {
  put("/proc/meminfo", "MemTotal: many kB\nMemAvailable: 9223372036854775807 kB\n");
  put_v2("/a");
  put("/sys/fs/cgroup/a/memory.max", "-1\n");
  const MemoryInfo info = read_memory_info(root_);
  EXPECT_FALSE(info.total_bytes.has_value());
  EXPECT_FALSE(info.available_bytes.has_value());
  EXPECT_FALSE(info.cgroup_limit_bytes.has_value());
  EXPECT_FALSE(info.room_bytes().has_value());
}

TEST_F(MemoryInfoTest, HugePages) {
  const std::string folder = "/sys/kernel/mm/transparent_hugepage/";
  EXPECT_EQ(read_memory_info(root_).huge_pages, HugePages::unknown);
  put(folder + "enabled", "always [madvise] never\n");
  put(folder + "hpage_pmd_size", "2097152\n");
  EXPECT_EQ(read_memory_info(root_).huge_pages, HugePages::on_request);
  EXPECT_EQ(read_memory_info(root_).huge_page_bytes, 2 * kMiB);
  put(folder + "enabled", "[always] madvise never\n");
  EXPECT_EQ(read_memory_info(root_).huge_pages, HugePages::always);
  put(folder + "enabled", "always madvise [never]\n");
  EXPECT_EQ(read_memory_info(root_).huge_pages, HugePages::never);
}

#ifdef __linux__
TEST(MemoryInfo, ThePeakOfThisProcessGrowsWithItsUse) {
  const auto before = read_memory_info().resident_peak_bytes;
  if (!before) GTEST_SKIP() << "this system does not tell the peak";
  const std::vector<char> block(64 * kMiB, 1);
  const auto after = read_memory_info().resident_peak_bytes;
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(block[block.size() / 2], 1);
  EXPECT_GE(*after, 64 * kMiB);
  EXPECT_GE(*after, *before);
}
#endif

}  // namespace
}  // namespace moxie

#include "core/cpu_info.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/cgroup.h"

namespace moxie {
namespace {

// A tree of system files in the test's own folder.
class CpuInfoTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/cpu_info_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_ + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  void put_core(int cpu, const std::string& siblings) {
    put("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/core_cpus_list", siblings + "\n");
  }
  // `cores` cores with two siblings each, numbered as Linux does on servers: 0 and cores, 1 and cores + 1, ...
  void put_smt_machine(int cores) {
    put("/sys/devices/system/cpu/online", "0-" + std::to_string(2 * cores - 1) + "\n");
    for (int cpu = 0; cpu < 2 * cores; cpu++) {
      put_core(cpu, std::to_string(cpu % cores) + "," + std::to_string(cpu % cores + cores));
    }
  }
  void put_v2(const std::string& group) {
    put("/proc/self/mountinfo",
        "22 1 0:20 / / rw - ext4 /dev/root rw\n30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::" + group + "\n");
  }
  CpuInfo read(const std::optional<std::vector<int>>& affinity) { return read_cpu_info(root_, affinity); }

  std::string root_;
};

TEST_F(CpuInfoTest, SiblingsCountOnce) {
  put_smt_machine(4);
  const CpuInfo info = read({{0, 1, 2, 3, 4, 5, 6, 7}});
  EXPECT_EQ(info.physical_cores, 4);
  EXPECT_EQ(info.logical, 8);
  EXPECT_EQ(info.allowed, 8);
  EXPECT_EQ(info.threads, 4);
  EXPECT_FALSE(info.quota.has_value());
  EXPECT_EQ(info.explanation,
            "4 threads: 4 physical cores (8 logical), affinity allows 8 on 4 cores, cgroup quota none");
}

TEST_F(CpuInfoTest, AffinityOnTwoSiblingsIsOneCore) {
  put_smt_machine(4);
  const CpuInfo siblings = read({{1, 5}});
  EXPECT_EQ(siblings.allowed, 2);
  EXPECT_EQ(siblings.threads, 1);
  EXPECT_EQ(siblings.explanation,
            "1 thread: 4 physical cores (8 logical), affinity allows 2 on 1 core, cgroup quota none");
  EXPECT_EQ(read({{1, 2, 3}}).threads, 3);
}

TEST_F(CpuInfoTest, HybridMachineCountsBothKindsOfCore) {
  put("/sys/devices/system/cpu/online", "0-5\n");
  put_core(0, "0-1");
  put_core(1, "0-1");
  put_core(2, "2-3");
  put_core(3, "2-3");
  put_core(4, "4");
  put_core(5, "5");
  EXPECT_EQ(read({{0, 1, 2, 3, 4, 5}}).threads, 4);
}

TEST_F(CpuInfoTest, OfflineProcessorsAreNotCounted) {
  put("/sys/devices/system/cpu/online", "0,2-3\n");
  for (const int cpu : {0, 2, 3}) put_core(cpu, std::to_string(cpu));
  const CpuInfo info = read({{0, 1, 2, 3}});
  EXPECT_EQ(info.logical, 3);
  EXPECT_EQ(info.allowed, 3);
  EXPECT_EQ(info.threads, 3);
}

TEST_F(CpuInfoTest, OldKernelsNameSiblingsDifferently) {
  put("/sys/devices/system/cpu/online", "0-1\n");
  put("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1\n");
  put("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1\n");
  EXPECT_EQ(read({{0, 1}}).threads, 1);
}

TEST_F(CpuInfoTest, QuotaV2RoundsDownAndTheTightestAncestorCounts) {
  put_smt_machine(8);
  put_v2("/user.slice/app.scope");
  put("/sys/fs/cgroup/user.slice/app.scope/cpu.max", "max 100000\n");
  put("/sys/fs/cgroup/user.slice/cpu.max", "390000 100000\n");
  const CpuInfo info = read({{0, 1, 2, 3, 4, 5, 6, 7}});
  ASSERT_TRUE(info.quota.has_value());
  EXPECT_DOUBLE_EQ(*info.quota, 3.9);
  EXPECT_EQ(info.threads, 3);
  EXPECT_EQ(info.explanation, "3 threads: 8 physical cores (16 logical), affinity allows 8, cgroup quota 3.9");
}

TEST_F(CpuInfoTest, QuotaBelowOneStillGivesOneThread) {
  put_smt_machine(2);
  put_v2("/");
  put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(read({{0, 1}}).threads, 1);
}

TEST_F(CpuInfoTest, QuotaV1InAContainerMount) {
  put_smt_machine(8);
  put("/proc/self/mountinfo",
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
      "33 31 0:30 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
  put("/proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n");
  put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(read({{0, 1, 2, 3}}).threads, 2);
  put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(read({{0, 1, 2, 3}}).threads, 4);
}

TEST_F(CpuInfoTest, UnreadableQuotasAreNoQuota) {
  put_smt_machine(2);
  put_v2("/a");
  for (const std::string text :
       {"", "max\n", "100000\n", "x y\n", "100000 0\n", "-5 100000\n", "99999999999999999999 1\n"}) {
    put("/sys/fs/cgroup/a/cpu.max", text);
    EXPECT_FALSE(read({{0, 1}}).quota.has_value()) << text;
  }
}

TEST_F(CpuInfoTest, NothingKnownStillGivesThreads) {
  const CpuInfo info = read(std::nullopt);
  EXPECT_EQ(info.physical_cores, 0);
  EXPECT_GE(info.threads, 1);
  EXPECT_NE(info.explanation.find("unknown physical cores"), std::string::npos);
}

TEST_F(CpuInfoTest, AffinityWithoutSysCountsProcessors) {
  EXPECT_EQ(read({{0, 3, 9}}).threads, 3);
}

TEST(CpuInfo, ThisMachineIsConsistent) {
  const CpuInfo info = read_cpu_info();
  EXPECT_GE(info.threads, 1);
  if (info.allowed_cores > 0) {
    EXPECT_LE(info.threads, info.allowed_cores);
  }
  if (info.physical_cores > 0) {
    EXPECT_LE(info.allowed_cores, info.physical_cores);
  }
  EXPECT_LE(info.allowed_cores, info.allowed);
}

TEST(CpuList, ParsesRangesAndRefusesTheRest) {
  EXPECT_EQ(parse_cpu_list("0-2,5\n"), (std::vector<int>{0, 1, 2, 5}));
  EXPECT_EQ(parse_cpu_list(""), std::vector<int>{});
  for (const std::string_view text : {"a", "3-1", "1-", "-1", "0-70000", "0,,2", "99999999999999999999"}) {
    EXPECT_FALSE(parse_cpu_list(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace moxie

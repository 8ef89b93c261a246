#include "core/process_limits.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

namespace moxie {
namespace {

TEST(ProcessLimits, AreThoseOfTheSystem) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  const ProcessLimits limits = read_process_limits();
  if (files.rlim_cur == RLIM_INFINITY) {
    EXPECT_FALSE(limits.open_files);
  } else {
    EXPECT_EQ(limits.open_files, files.rlim_cur);
  }
}

TEST(CpuThrottling, ReadsTheGroupsOfThisProcess) {
  const auto root = std::filesystem::path(testing::TempDir()) / "moxie-throttling";
  const auto put = [&](const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  put("proc/self/cgroup", "0::/a\n");
  put("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
  put("sys/fs/cgroup/a/cpu.stat", "usage_usec 5\nnr_periods 200\nnr_throttled 50\nthrottled_usec 9\n");
  const auto found = read_cpu_throttling(root.c_str());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->periods, 200u);
  EXPECT_EQ(found->throttled, 50u);
  put("sys/fs/cgroup/a/cpu.stat", "usage_usec 5\nnr_periods 0\nnr_throttled 0\n");
  EXPECT_FALSE(read_cpu_throttling(root.c_str()));
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace moxie

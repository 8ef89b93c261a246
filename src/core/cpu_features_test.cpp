#include "core/cpu_features.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace moxie {
namespace {

TEST(CpuFeatures, HigherLevelsContainTheLower) {
  if (cpu_has_avx512_vnni()) {
    EXPECT_TRUE(cpu_is_x86_64_v3());
  }
  if (cpu_is_x86_64_v4()) {
    EXPECT_TRUE(cpu_is_x86_64_v3());
  }
  if (cpu_is_x86_64_v3()) {
    EXPECT_TRUE(cpu_is_x86_64_v2());
  }
}

#if defined(__x86_64__) && defined(__linux__)
// The kernel's list of flags is an independent witness.
TEST(CpuFeatures, AgreeWithTheKernel) {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line) && !line.starts_with("flags")) {
  }
  if (line.empty()) GTEST_SKIP() << "/proc/cpuinfo lists no flags";
  const std::string flags = line + " ";
  const auto has_all = [&](std::initializer_list<const char*> names) {
    for (const std::string name : names) {
      if (flags.find(" " + name + " ") == std::string::npos) return false;
    }
    return true;
  };
  const bool v3 = has_all({"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"});
  EXPECT_EQ(cpu_is_x86_64_v2(), has_all({"sse4_2", "popcnt"}));
  EXPECT_EQ(cpu_is_x86_64_v3(), v3);
  EXPECT_EQ(cpu_is_x86_64_v4(), v3 && has_all({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}));
  EXPECT_EQ(cpu_has_avx_vnni(), has_all({"avx_vnni"}));
  EXPECT_EQ(cpu_has_avx512_vnni(), has_all({"avx512_vnni"}));
  EXPECT_EQ(cpu_has_avx512_bf16(), has_all({"avx512_bf16"}));
  EXPECT_EQ(cpu_has_gfni(), has_all({"gfni"}));
  EXPECT_EQ(cpu_allows_amx(), has_all({"amx_tile", "amx_int8", "amx_bf16"}));
}
#endif

}  // namespace
}  // namespace moxie

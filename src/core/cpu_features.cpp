#include "core/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace moxie {

#if defined(__x86_64__)
namespace {

// __builtin_cpu_supports knows which registers the system saves, but not every feature on every compiler: the rest from
// cpuid.
bool has_v3_extras() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  const unsigned basic = c;
  if (!__get_cpuid(0x80000001u, &a, &b, &c, &d)) return false;
  return (basic & bit_F16C) != 0 && (basic & bit_MOVBE) != 0 && (c & bit_LZCNT) != 0;
}

}  // namespace

bool cpu_is_x86_64_v2() {
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
bool cpu_is_x86_64_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && has_v3_extras();
}
bool cpu_is_x86_64_v4() {
  return cpu_is_x86_64_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool cpu_has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAvxVnni = 1u << 4;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < 1) return false;  // a: the last subleaf
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & kAvxVnni) != 0;
}
bool cpu_has_avx512_vnni() {
  return __builtin_cpu_supports("avx512vnni");
}
bool cpu_has_avx512_bf16() {
  return __builtin_cpu_supports("avx512bf16");
}
bool cpu_has_gfni() {
  return __builtin_cpu_supports("gfni");
}
bool cpu_allows_amx() {
#if defined(__linux__)
  static const bool allowed = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24, kInt8 = 1u << 25, kAll = kBf16 | kTiles | kInt8;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kAll) != kAll) return false;
    constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return allowed;
#else
  return false;
#endif
}
#else
bool cpu_is_x86_64_v2() {
  return false;
}
bool cpu_is_x86_64_v3() {
  return false;
}
bool cpu_is_x86_64_v4() {
  return false;
}
bool cpu_has_avx_vnni() {
  return false;
}
bool cpu_has_avx512_vnni() {
  return false;
}
bool cpu_has_avx512_bf16() {
  return false;
}
bool cpu_has_gfni() {
  return false;
}
bool cpu_allows_amx() {
  return false;
}
#endif

}  // namespace moxie

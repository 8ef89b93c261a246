#include "core/process_limits.h"

#include <sys/resource.h>

#include "core/cgroup.h"

namespace moxie {
namespace {

std::optional<uint64_t> limit_of(rlim_t value) {
  if (value == RLIM_INFINITY) return std::nullopt;
  return static_cast<uint64_t>(value);
}

}  // namespace

ProcessLimits read_process_limits() {
  ProcessLimits limits;
  rlimit found{};
  if (::getrlimit(RLIMIT_NOFILE, &found) == 0) {
    limits.open_files = limit_of(found.rlim_cur);
    limits.open_files_max = limit_of(found.rlim_max);
  }
  if (::getrlimit(RLIMIT_MEMLOCK, &found) == 0) limits.locked_bytes = limit_of(found.rlim_cur);
  if (::getrlimit(RLIMIT_AS, &found) == 0) limits.address_bytes = limit_of(found.rlim_cur);
  return limits;
}

std::optional<CpuThrottling> read_cpu_throttling(const char* root) {
  for (const CgroupFolder& folder : cgroup_folders(root, "cpu")) {
    const auto text = read_system_file(folder.path + "/cpu.stat");
    if (!text) continue;
    const auto periods = value_of(*text, "nr_periods "), throttled = value_of(*text, "nr_throttled ");
    if (!periods || !throttled) continue;
    const auto all = leading_number(*periods), held = leading_number(*throttled);
    if (!all || !held || *all <= 0 || *held < 0) continue;
    return CpuThrottling{static_cast<uint64_t>(*all), static_cast<uint64_t>(*held)};
  }
  return std::nullopt;
}

}  // namespace moxie

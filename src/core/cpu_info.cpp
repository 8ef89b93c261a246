#include "core/cpu_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <thread>

#include "core/cgroup.h"

#ifdef __linux__
#include <sched.h>

#include <cerrno>
#include <memory>
#endif

namespace moxie {
namespace {

std::optional<std::vector<int>> read_affinity() {
#ifdef __linux__
  // The kernel refuses a mask smaller than its own; 65536 processors are beyond every machine.
  for (int bits = 1024; bits <= 65536; bits *= 4) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(bits),
                                                               [](cpu_set_t* mask) { CPU_FREE(mask); });
    const size_t bytes = CPU_ALLOC_SIZE(bits);
    if (set == nullptr) return std::nullopt;
    if (sched_getaffinity(0, bytes, set.get()) != 0) {
      if (errno == EINVAL) continue;
      return std::nullopt;
    }
    std::vector<int> cpus;
    for (int cpu = 0; cpu < bits; cpu++) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set.get())) cpus.push_back(cpu);
    }
    return cpus;
  }
#endif
  return std::nullopt;
}

// Physical cores among `cpus`: processors that name the same siblings are one. A processor without topology stands for
// itself.
int count_cores(const std::string& root, const std::vector<int>& cpus) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    const std::string topology = fmt::format("{}/sys/devices/system/cpu/cpu{}/topology/", root, cpu);
    auto siblings = read_system_file(topology + "core_cpus_list");
    if (!siblings) siblings = read_system_file(topology + "thread_siblings_list");  // its name before Linux 5.2
    cores.insert(siblings && !siblings->empty() ? *siblings : fmt::format("{}\n", cpu));
  }
  return static_cast<int>(cores.size());
}

// cpu.max: "QUOTA PERIOD" or "max PERIOD"; v1 has a file for each, and -1 for none.
std::optional<double> read_quota(const CgroupFolder& folder) {
  std::optional<int64_t> quota, period;
  if (folder.version == CgroupVersion::v2) {
    const auto text = read_system_file(folder.path + "/cpu.max");
    if (!text) return std::nullopt;
    quota = leading_number(*text);
    const size_t blank = text->find(' ');
    if (blank != std::string::npos) period = leading_number(std::string_view(*text).substr(blank + 1));
  } else {
    quota = leading_number(read_system_file(folder.path + "/cpu.cfs_quota_us").value_or(""));
    period = leading_number(read_system_file(folder.path + "/cpu.cfs_period_us").value_or(""));
  }
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::string known(int count) {
  return count > 0 ? fmt::format("{}", count) : "unknown";
}

std::string explain(const CpuInfo& info) {
  std::string text = fmt::format("{} thread{}: {} physical core{}", info.threads, info.threads == 1 ? "" : "s",
                                 known(info.physical_cores), info.physical_cores == 1 ? "" : "s");
  if (info.logical != info.physical_cores) text += fmt::format(" ({} logical)", known(info.logical));
  text += fmt::format(", affinity allows {}", known(info.allowed));
  if (info.allowed_cores != info.allowed)
    text += fmt::format(" on {} core{}", known(info.allowed_cores), info.allowed_cores == 1 ? "" : "s");
  text += info.quota ? fmt::format(", cgroup quota {:.3g}", *info.quota) : ", cgroup quota none";
  return text;
}

}  // namespace

CpuInfo read_cpu_info() {
  return read_cpu_info("", read_affinity());
}

CpuInfo read_cpu_info(const std::string& root, const std::optional<std::vector<int>>& affinity) {
  CpuInfo info;
  const auto online_text = read_system_file(root + "/sys/devices/system/cpu/online");
  const auto online = online_text ? parse_cpu_list(*online_text) : std::nullopt;
  if (online) {
    info.logical = static_cast<int>(online->size());
    info.physical_cores = count_cores(root, *online);
  }
  std::optional<std::vector<int>> usable = affinity;
  if (usable && online) {
    std::erase_if(*usable, [&](int cpu) { return std::find(online->begin(), online->end(), cpu) == online->end(); });
  }
  if (usable) info.allowed = static_cast<int>(usable->size());
  if (!usable || usable->empty()) usable = online;
  if (usable) info.allowed_cores = count_cores(root, *usable);

  for (const CgroupFolder& folder : cgroup_folders(root, "cpu")) {
    const auto quota = read_quota(folder);
    if (quota) info.quota = std::min(*quota, info.quota.value_or(*quota));
  }
  info.threads = info.allowed_cores > 0 ? info.allowed_cores : static_cast<int>(std::thread::hardware_concurrency());
  if (info.quota) info.threads = std::min(info.threads, static_cast<int>(std::min(*info.quota, 65536.0)));
  info.threads = std::max(info.threads, 1);
  info.explanation = explain(info);
  return info;
}

}  // namespace moxie

#include "core/memory_info.h"

#include <algorithm>
#include <limits>

#include "core/cgroup.h"

#if defined(__APPLE__)
#include <sys/resource.h>
#endif

namespace moxie {
namespace {

// cgroup v1 writes "no limit" as the largest multiple of the page size.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

std::optional<uint64_t> bytes_in(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  const auto number = leading_number(*text);
  if (!number || *number < 0) return std::nullopt;
  return static_cast<uint64_t>(*number);
}

// A line "KEY   1234 kB".
std::optional<uint64_t> kilobytes_of(const std::optional<std::string>& text, std::string_view key) {
  if (!text) return std::nullopt;
  const auto value = value_of(*text, key);
  if (!value) return std::nullopt;
  const auto number = leading_number(*value);
  if (!number || *number < 0 || *number > std::numeric_limits<int64_t>::max() / 1024) return std::nullopt;
  return static_cast<uint64_t>(*number) * 1024;
}

std::optional<uint64_t> smaller(std::optional<uint64_t> a, std::optional<uint64_t> b) {
  if (!a) return b;
  if (!b) return a;
  return std::min(*a, *b);
}

struct GroupMemory {
  std::optional<uint64_t> limit, used;
  uint64_t droppable = 0;  // file cache that no one used lately
};

GroupMemory read_group(const CgroupFolder& folder) {
  GroupMemory group;
  const bool v2 = folder.version == CgroupVersion::v2;
  if (v2) {
    // Above memory.high a group is slowed down to a crawl: for our purposes that is where its memory ends.
    group.limit = smaller(bytes_in(read_system_file(folder.path + "/memory.max")),
                          bytes_in(read_system_file(folder.path + "/memory.high")));
    group.used = bytes_in(read_system_file(folder.path + "/memory.current"));
  } else {
    group.limit = bytes_in(read_system_file(folder.path + "/memory.limit_in_bytes"));
    group.used = bytes_in(read_system_file(folder.path + "/memory.usage_in_bytes"));
  }
  if (group.limit && *group.limit >= kNoLimit) group.limit.reset();
  if (const auto stat = read_system_file(folder.path + "/memory.stat")) {
    const auto value = value_of(*stat, v2 ? "inactive_file " : "total_inactive_file ");
    const auto number = value ? leading_number(*value) : std::nullopt;
    if (number && *number > 0) group.droppable = static_cast<uint64_t>(*number);
  }
  return group;
}

void read_groups(const std::string& root, MemoryInfo* info) {
  for (const CgroupFolder& folder : cgroup_folders(root, "memory")) {
    const GroupMemory group = read_group(folder);
    if (!group.limit) continue;
    info->cgroup_limit_bytes = smaller(info->cgroup_limit_bytes, group.limit);
    if (!group.used) continue;
    const uint64_t used = *group.used - std::min(*group.used, group.droppable);
    info->cgroup_room_bytes = smaller(info->cgroup_room_bytes, *group.limit - std::min(*group.limit, used));
  }
}

void read_huge_pages(const std::string& root, MemoryInfo* info) {
  const std::string folder = root + "/sys/kernel/mm/transparent_hugepage/";
  const std::string mode = read_system_file(folder + "enabled").value_or("");
  if (mode.find("[always]") != std::string::npos) info->huge_pages = HugePages::always;
  if (mode.find("[madvise]") != std::string::npos) info->huge_pages = HugePages::on_request;
  if (mode.find("[never]") != std::string::npos) info->huge_pages = HugePages::never;
  info->huge_page_bytes = bytes_in(read_system_file(folder + "hpage_pmd_size"));
}

}  // namespace

std::optional<uint64_t> MemoryInfo::limit_bytes() const {
  return smaller(total_bytes, cgroup_limit_bytes);
}
std::optional<uint64_t> MemoryInfo::room_bytes() const {
  return smaller(available_bytes, cgroup_room_bytes);
}

MemoryInfo read_memory_info(const std::string& root) {
  MemoryInfo info;
  const auto meminfo = read_system_file(root + "/proc/meminfo");
  info.total_bytes = kilobytes_of(meminfo, "MemTotal:");
  info.available_bytes = kilobytes_of(meminfo, "MemAvailable:");
  const auto status = read_system_file(root + "/proc/self/status");
  info.resident_bytes = kilobytes_of(status, "VmRSS:");
  info.resident_peak_bytes = kilobytes_of(status, "VmHWM:");
#if defined(__APPLE__)
  rusage usage{};
  if (!info.resident_peak_bytes && getrusage(RUSAGE_SELF, &usage) == 0) {
    info.resident_peak_bytes = static_cast<uint64_t>(usage.ru_maxrss);  // bytes there, kilobytes elsewhere
  }
#endif
  read_groups(root, &info);
  read_huge_pages(root, &info);
  return info;
}

}  // namespace moxie

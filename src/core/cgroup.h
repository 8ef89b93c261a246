// Where the limits of this process's control groups stand, cgroup v1, v2 or both mounted. Thread-safe: plain functions
// that read /proc and /sys below `root`, so that tests bring their own tree. A missing or odd file means "no limit
// known", never a failure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moxie {

enum class CgroupVersion { v1, v2 };

// A folder with the files of one group, e.g. cpu.max.
struct CgroupFolder {
  CgroupVersion version;
  std::string path;
};

// The group of this process that has `controller` ("cpu", "memory") and all its ancestors, innermost first: a limit on
// any counts.
std::vector<CgroupFolder> cgroup_folders(const std::string& root, std::string_view controller);

// The text of a small system file (at most 1 MiB), or nothing.
std::optional<std::string> read_system_file(const std::string& path);

// The number at the start of the text; nothing when there is none or it does not fit.
std::optional<int64_t> leading_number(std::string_view text);

// The text after `key` on the line that starts with it ("VmHWM:", "inactive_file "), without leading blanks.
std::optional<std::string_view> value_of(std::string_view text, std::string_view key);

// "0-3,8,10-11" as numbers; nothing for text that is no such list or names a number above 65535.
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

}  // namespace moxie

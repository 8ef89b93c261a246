#include "core/cgroup.h"

#include <charconv>
#include <fstream>

namespace moxie {
namespace {

constexpr size_t kMaxSystemFileBytes = size_t{1} << 20;
constexpr int kMaxCpu = 65535;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return parts;
}

bool holds(std::string_view comma_list, std::string_view name) {
  for (const std::string_view part : split(comma_list, ',')) {
    if (part == name) return true;
  }
  return false;
}

struct CgroupMount {
  std::string group_root;  // the group that the mount point shows
  std::string point;
};

// mountinfo escapes blanks and backslashes as three octal digits.
std::string unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); i++) {
    int code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr == text.data() + i + 4) {
      plain += static_cast<char>(code);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// One line: "36 35 0:30 ROOT POINT options... - TYPE source SUPER_OPTIONS".
std::optional<CgroupMount> find_mount(std::string_view mountinfo, CgroupVersion version, std::string_view controller) {
  for (const std::string_view line : split(mountinfo, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto left = split(line.substr(0, dash), ' ');
    const auto right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.empty()) continue;
    const bool matches = version == CgroupVersion::v2
                             ? right[0] == "cgroup2"
                             : right[0] == "cgroup" && right.size() >= 3 && holds(right[2], controller);
    if (matches) return CgroupMount{unescape(left[3]), unescape(left[4])};
  }
  return std::nullopt;
}

// The path of this process in a hierarchy. Lines are "ID:CONTROLLERS:PATH"; v2 has ID 0 and no controllers.
std::optional<std::string> find_group(std::string_view cgroup, CgroupVersion version, std::string_view controller) {
  for (const std::string_view line : split(cgroup, '\n')) {
    const size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    const size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool matches = version == CgroupVersion::v2 ? line.substr(0, first) == "0" && controllers.empty()
                                                      : holds(controllers, controller);
    if (matches) return std::string(line.substr(second + 1));
  }
  return std::nullopt;
}

void add_folders(const std::string& root, CgroupVersion version, std::string_view controller,
                 std::string_view mountinfo, std::string_view cgroup, std::vector<CgroupFolder>* folders) {
  const auto mount = find_mount(mountinfo, version, controller);
  auto group = find_group(cgroup, version, controller);
  if (!mount || !group) return;
  // In a container the mount point shows the container's own group: its path is a prefix of ours, or unrelated to it.
  if (mount->group_root != "/") {
    *group = group->starts_with(mount->group_root) ? group->substr(mount->group_root.size()) : "";
  }
  while (!group->empty() && group->back() == '/') group->pop_back();
  for (;;) {
    folders->push_back({version, root + mount->point + *group});
    if (group->empty()) return;
    const size_t slash = group->rfind('/');
    group->resize(slash == std::string::npos ? 0 : slash);
  }
}

}  // namespace

std::vector<CgroupFolder> cgroup_folders(const std::string& root, std::string_view controller) {
  const auto mountinfo = read_system_file(root + "/proc/self/mountinfo");
  const auto cgroup = read_system_file(root + "/proc/self/cgroup");
  std::vector<CgroupFolder> folders;
  if (!mountinfo || !cgroup) return folders;
  add_folders(root, CgroupVersion::v2, controller, *mountinfo, *cgroup, &folders);
  add_folders(root, CgroupVersion::v1, controller, *mountinfo, *cgroup, &folders);
  return folders;
}

std::optional<std::string> read_system_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::string text;
  char chunk[4096];
  while (text.size() < kMaxSystemFileBytes && (in.read(chunk, sizeof chunk), in.gcount() > 0)) {
    text.append(chunk, static_cast<size_t>(in.gcount()));
  }
  if (in.bad()) return std::nullopt;
  return text;
}

std::optional<int64_t> leading_number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return number;
}

std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  for (std::string_view line : split(text, '\n')) {
    if (!line.starts_with(key)) continue;
    line.remove_prefix(key.size());
    const size_t start = line.find_first_not_of(" \t");
    return start == std::string_view::npos ? std::string_view{} : line.substr(start);
  }
  return std::nullopt;
}

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  std::vector<int> cpus;
  for (const std::string_view part : split(text, ',')) {
    const size_t dash = part.find('-');
    const auto first = leading_number(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : leading_number(part.substr(dash + 1));
    if (!first || !last || *first < 0 || *last < *first || *last > kMaxCpu) return std::nullopt;
    for (int64_t cpu = *first; cpu <= *last; cpu++) cpus.push_back(static_cast<int>(cpu));
  }
  return cpus;
}

}  // namespace moxie

#include "core/mount.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "core/check.h"

namespace moxie {
namespace {

struct MountTable {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const FileTree>, std::less<>> trees;
  std::atomic<int> count{0};  // looked at first: nearly always there is nothing mounted
};

MountTable& table() {
  static MountTable table;
  return table;
}

}  // namespace

Mount::Mount(std::string name, std::shared_ptr<const FileTree> tree) : name_(std::move(name)) {
  const std::lock_guard lock(table().mutex);
  const bool is_new = table().trees.emplace(name_, std::move(tree)).second;
  MOXIE_CHECK(is_new);
  ++table().count;
}

Mount::~Mount() {
  const std::lock_guard lock(table().mutex);
  table().trees.erase(name_);
  --table().count;
}

std::optional<MountedPath> find_mounted(std::string_view path) {
  if (table().count == 0) return std::nullopt;
  const std::lock_guard lock(table().mutex);
  for (const auto& [name, tree] : table().trees) {
    if (!path.starts_with(name)) continue;
    std::string_view inner = path.substr(name.size());
    if (!inner.empty() && inner.front() != '/') continue;
    while (inner.starts_with('/')) inner.remove_prefix(1);
    while (inner.ends_with('/')) inner.remove_suffix(1);
    return MountedPath{tree, std::string(inner)};
  }
  return std::nullopt;
}

const FileTree::Entry* MountedPath::entry() const {
  const auto& all = tree->entries();
  const auto found =
      std::lower_bound(all.begin(), all.end(), inner,
                       [](const FileTree::Entry& entry, const std::string& name) { return entry.path < name; });
  return found == all.end() || found->path != inner ? nullptr : &*found;
}

bool MountedPath::is_folder() const {
  if (inner.empty()) return true;
  const std::string below = inner + "/";
  return std::any_of(tree->entries().begin(), tree->entries().end(),
                     [&](const FileTree::Entry& entry) { return entry.path.starts_with(below); });
}

std::vector<std::string> MountedPath::files() const {
  const std::string below = inner.empty() ? "" : inner + "/";
  std::vector<std::string> names;
  for (const FileTree::Entry& entry : tree->entries()) {
    if (!entry.path.starts_with(below)) continue;
    const std::string name = entry.path.substr(below.size());
    if (name.find('/') == std::string::npos) names.push_back(name);
  }
  return names;
}

}  // namespace moxie

#include "core/folder.h"

#include <algorithm>
#include <filesystem>

#include "core/fail.h"
#include "core/mount.h"

namespace moxie {
namespace fs = std::filesystem;

bool is_folder(const std::string& path) {
  if (const auto mounted = find_mounted(path)) return mounted->is_folder();
  std::error_code error;
  return fs::is_directory(path, error);
}

bool is_file(const std::string& path) {
  if (const auto mounted = find_mounted(path)) return mounted->entry() != nullptr;
  std::error_code error;
  return fs::is_regular_file(path, error);
}

bool is_present(const std::string& path) {
  if (const auto mounted = find_mounted(path)) return mounted->entry() != nullptr || mounted->is_folder();
  std::error_code error;
  return fs::exists(path, error);
}

bool is_broken_link(const std::string& path) {
  if (find_mounted(path)) return false;
  std::error_code error;
  return fs::is_symlink(fs::symlink_status(path, error)) && !fs::exists(path, error);
}

Result<std::vector<std::string>> list_files(const std::string& folder) {
  if (const auto mounted = find_mounted(folder)) return mounted->files();
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error) {
    const ErrorCode code = error == std::errc::no_such_file_or_directory ? ErrorCode::not_found : ErrorCode::io;
    return fail(code, "{}: cannot list the folder: {}", folder, error.message());
  }
  std::vector<std::string> names;
  while (entry != fs::directory_iterator()) {
    std::error_code ignored;
    if (!entry->is_directory(ignored)) names.push_back(entry->path().filename().string());
    entry.increment(error);
    if (error) return fail(ErrorCode::io, "{}: cannot list the folder: {}", folder, error.message());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string file_name(const std::string& path) {
  return fs::path(path).filename().string();
}

std::string parent_folder(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string join_path(const std::string& folder, std::string_view name) {
  return (fs::path(folder) / name).string();
}

}  // namespace moxie

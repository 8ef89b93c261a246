#include "hub/folder_models.h"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>

#include "core/ascii.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"

namespace moxie {
namespace {

constexpr size_t kTailBytes = std::string_view("-00001-of-00003.gguf").size();

// "m-00002-of-00003.gguf" gives "m-of-00003.gguf", which its fellow parts have in common; other names give themselves.
std::string group_key(const std::string& name) {
  if (name.size() <= kTailBytes) return name;
  const std::string_view tail = std::string_view(name).substr(name.size() - kTailBytes);
  const auto digits = [&](size_t from) {
    return std::all_of(tail.begin() + static_cast<std::ptrdiff_t>(from),
                       tail.begin() + static_cast<std::ptrdiff_t>(from + 5),
                       [](unsigned char c) { return std::isdigit(c) != 0; });
  };
  if (tail[0] != '-' || !digits(1) || tail.substr(6, 4) != "-of-" || !digits(10)) return name;
  return name.substr(0, name.size() - kTailBytes) + std::string(tail.substr(6));
}

bool is_side_file(const std::string& name) {
  const std::string file = ascii_lower(file_name(name));
  return file.starts_with("mmproj") || file.starts_with("mtp-") || file.find("imatrix") != std::string::npos;
}

// Is `quant` in the name, and no part of a longer one: "Q4_K" is not in "Q4_K_M"?
bool names_quant(const std::string& name, const std::string& quant) {
  const std::string in = ascii_lower(name), wanted = ascii_lower(quant);
  const auto continues = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (size_t at = in.find(wanted); at != std::string::npos; at = in.find(wanted, at + 1)) {
    const size_t end = at + wanted.size();
    if ((at == 0 || !continues(in[at - 1])) && (end == in.size() || !continues(in[end]))) return true;
  }
  return false;
}

}  // namespace

std::vector<GgufGroup> group_gguf_files(const std::vector<std::string>& names) {
  std::map<std::string, GgufGroup> groups;
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  for (const std::string& name : sorted) {
    if (!name.ends_with(".gguf") || is_side_file(name)) continue;
    GgufGroup& group = groups[group_key(name)];
    if (group.files.empty()) group.name = name;
    group.files.push_back(name);
  }
  std::vector<GgufGroup> out;
  for (auto& [key, group] : groups) out.push_back(std::move(group));
  return out;
}

std::vector<GgufGroup> matching_groups(const std::vector<GgufGroup>& groups, std::string_view wanted) {
  std::vector<GgufGroup> out;
  const std::string pattern(wanted);
  const auto any_file = [](const GgufGroup& group, const auto& fits) {
    return std::any_of(group.files.begin(), group.files.end(), fits);
  };
  // The file itself goes before what only resembles it.
  for (const GgufGroup& group : groups) {
    if (any_file(group, [&](const std::string& name) { return name == pattern || file_name(name) == pattern; }))
      return {group};
  }
  for (const GgufGroup& group : groups) {
    const bool fits = any_file(group, [&](const std::string& name) {
      if (pattern.find_first_of("*?[") != std::string::npos) return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
      return names_quant(file_name(name), pattern);
    });
    if (fits) out.push_back(group);
  }
  return out;
}

uint64_t bytes_of_file(const std::string& path) {
  std::error_code failed;
  const uintmax_t bytes = std::filesystem::file_size(path, failed);
  return failed ? 0 : bytes;
}

uint64_t bytes_of_weights(const std::string& folder, const std::vector<std::string>& names) {
  uint64_t sum = 0;
  for (const std::string& name : names) {
    if (name.ends_with(".gguf") || name.ends_with(".safetensors")) sum += bytes_of_file(join_path(folder, name));
  }
  return sum;
}

std::string describe_groups(const std::string& folder, const std::vector<GgufGroup>& groups) {
  std::string out;
  for (const GgufGroup& group : groups) {
    out += fmt::format("{}{} ({})", out.empty() ? "" : ", ", printable(group.name),
                       human_bytes(bytes_of_weights(folder, group.files)));
  }
  return out;
}

}  // namespace moxie

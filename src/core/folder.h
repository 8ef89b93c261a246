// Names and folders, of this machine and of mounts (core/mount.h). Stateless functions, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"

namespace moxie {

bool is_folder(const std::string& path);
bool is_file(const std::string& path);         // a regular file, through links
bool is_present(const std::string& path);      // anything at all, through links
bool is_broken_link(const std::string& path);  // a symbolic link whose target is absent
// Names of the entries that are not folders, sorted; broken links included. Errors: not_found, io.
Result<std::vector<std::string>> list_files(const std::string& folder);

std::string file_name(const std::string& path);      // "a/b.gguf" -> "b.gguf"
std::string parent_folder(const std::string& path);  // "a/b.gguf" -> "a", "b.gguf" -> "."
std::string join_path(const std::string& folder, std::string_view name);

}  // namespace moxie

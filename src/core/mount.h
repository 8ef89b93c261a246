// Files that lie elsewhere, read by whoever takes paths: while a Mount lives, File, FileSource, is_file(), list_files()
// and the like find the files of its tree below its name, and what reads weight files need not know where they are.
// This is the one table of the process that changes; it is locked, and empty but in commands that look into a hub.
// Thread-safe, if the trees are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"

namespace moxie {

class FileTree {
 public:
  struct Entry {
    std::string path;  // "sub/name", safe to join
    uint64_t bytes = 0;
  };
  virtual ~FileTree() = default;
  virtual const std::vector<Entry>& entries() const = 0;  // sorted by path; does not change
  // Fills `into` from `offset` of an entry. REQUIRES: it is within the entry's bytes.
  virtual Result<void> read(const Entry& entry, uint64_t offset, std::span<std::byte> into) const = 0;
};

class Mount {
 public:
  // `name` begins the paths ("hf:org/name"). REQUIRES: no mount of this name or below it lives.
  Mount(std::string name, std::shared_ptr<const FileTree> tree);
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

struct MountedPath {
  std::shared_ptr<const FileTree> tree;
  std::string inner;  // below the mount's name; empty for that itself

  const FileTree::Entry* entry() const;  // null where it is no file
  bool is_folder() const;
  std::vector<std::string> files() const;  // names of the files in this folder
};
// Nothing for the paths of this machine's files.
std::optional<MountedPath> find_mounted(std::string_view path);

}  // namespace moxie

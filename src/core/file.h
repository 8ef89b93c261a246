// Files: reading at an offset and mapping. The only place of the library, with the rest of core, that makes system
// calls. A File may be read from several threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "moxie/error.h"

namespace moxie {

// A read-only view of a whole file through the page cache. Move-only; unmaps when it dies.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  const std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  friend class File;
  Mapping(const std::byte* data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  const std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

struct MountedPath;

class File {
 public:
  // Errors: not_found (with the path), io, invalid_argument for a folder.
  static Result<File> open(const std::string& path);
  File(File&& other) noexcept
      : path_(std::move(other.path_)),
        descriptor_(std::exchange(other.descriptor_, -1)),
        bytes_(other.bytes_),
        mounted_(std::move(other.mounted_)) {}
  File& operator=(File&& other) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  uint64_t bytes() const { return bytes_; }
  int descriptor() const { return descriptor_; }  // -1 for a file of a mount
  // Fills `into` from `offset`; retries interrupted and short reads. Errors: io, or corrupt where the file ends first.
  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const;
  // Errors: io; unsupported for a file of a mount.
  Result<Mapping> map() const;

 private:
  File(std::string path, int descriptor, uint64_t bytes)
      : path_(std::move(path)), descriptor_(descriptor), bytes_(bytes) {}
  std::string path_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
  std::shared_ptr<const MountedPath> mounted_;  // set: a file of a mount (core/mount.h)
};

}  // namespace moxie

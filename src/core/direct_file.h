// A file opened for reading past the page cache where its file system allows that, and through it, leaving nothing
// behind, where it does not. Remembers what the file was, so that a change underneath can be told. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/file_identity.h"
#include "moxie/error.h"

namespace moxie {

class DirectFile {
 public:
  static constexpr uint64_t kMinAlignment = 4096;
  static bool supported();  // whether this build reads past the page cache at all

  // Errors: not_found, io, invalid_argument for what is no regular file.
  static Result<std::unique_ptr<DirectFile>> open(const std::string& path, bool direct);
  ~DirectFile();
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  const std::string& path() const { return path_; }
  int descriptor() const { return descriptor_; }
  uint64_t bytes() const { return identity_.bytes; }
  uint64_t alignment() const { return alignment_; }  // what a direct read needs; a power of two >= kMinAlignment
  bool direct() const { return direct_.load(std::memory_order_relaxed); }
  // Why not direct although that was wanted; empty otherwise. Set by open() alone.
  const std::string& refusal() const { return refusal_; }

  // One system call. Returns the bytes read (fewer than asked for at the end of the file) or a negative errno.
  int64_t read(uint64_t offset, uint64_t bytes, std::byte* into) const;
  // Reads go through the page cache from now on. Returns whether they did not before.
  bool stop_direct();
  // After a read through the page cache: the cache need not keep it.
  void forget(uint64_t offset, uint64_t bytes) const;
  // Errors: corrupt when the file was replaced, cut or written to since open().
  Result<void> check_unchanged() const;
  // The same for what is open: a file that was replaced or removed is still there as it was.
  Result<void> check_content() const;

 private:
  DirectFile() = default;
  void probe_direct();

  std::string path_;           // as given, for messages
  std::string absolute_path_;  // survives a change of the working folder
  int descriptor_ = -1;
  uint64_t alignment_ = kMinAlignment;
  std::atomic<bool> direct_{false};
  std::string refusal_;
  FileIdentity identity_;       // of the open file
  FileIdentity path_identity_;  // of what the path led to; a file system may give other numbers than for the open file
};

}  // namespace moxie

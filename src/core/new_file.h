// A file that appears under its name when it is complete and safely on the disk, or not at all: it is written without a
// name where the file system can do that (nothing of it outlives the process then), else beside its place under
// another, and renamed by commit(). Belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "moxie/error.h"

namespace moxie {

class NewFile {
 public:
  enum class Overwrite : uint8_t { no, yes };

  // Sets aside `bytes` where the file system can do that, so that a full disk shows at once. Errors: invalid_argument
  // where something lies at `path` that must not be overwritten, or a folder; io, not_found.
  static Result<NewFile> create(const std::string& path, uint64_t bytes, Overwrite overwrite);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();  // without commit(): nothing is left

  // Errors: io (disk full, with what to do).
  Result<void> write_at(uint64_t offset, std::span<const std::byte> bytes);
  // Bytes never written are zero. Afterwards the file is there.
  Result<void> commit();

 private:
  NewFile(std::string path, std::string temporary, int descriptor, uint64_t bytes, Overwrite overwrite)
      : path_(std::move(path)),
        temporary_(std::move(temporary)),
        descriptor_(descriptor),
        bytes_(bytes),
        overwrite_(overwrite) {}
  Error cannot_write(int error) const;
  Result<void> give_name();
  void write_behind(uint64_t end);

  std::string path_, temporary_;  // no temporary name yet: the file has none
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
  Overwrite overwrite_;
  uint64_t window_ = 0;  // where the bytes begin that the kernel was not yet told to write out
};

// Could a file be made at `path` now? For what is computed long before it is written. Errors: those of create().
Result<void> check_writable(const std::string& path, bool overwrite);

// Is there room for so many bytes where `path` is to be? Errors: io, with both numbers.
Result<void> check_room(const std::string& path, uint64_t bytes);

}  // namespace moxie

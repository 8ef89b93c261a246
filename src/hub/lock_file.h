// A lock between processes, by flock on a file that is left behind, as huggingface_hub (filelock) takes it. Move-only,
// belongs to one thread.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "moxie/error.h"

namespace moxie {

class LockFile {
 public:
  // Waits while another process has it; `waiting` is called about ten times a second meanwhile, and its error ends
  // the wait. Folders in between are made. Errors: io.
  static Result<LockFile> take(const std::string& path, const std::function<Result<void>()>& waiting);
  LockFile(LockFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  LockFile& operator=(LockFile&&) = delete;
  ~LockFile();

 private:
  explicit LockFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace moxie

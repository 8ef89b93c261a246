#include "hub/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "core/fail.h"
#include "core/folder.h"

namespace moxie {
namespace {

// Newer versions of filelock remove the file when they let go: a lock on a removed file excludes nobody.
bool is_still_there(int descriptor, const std::string& path) {
  struct stat held {
  }, there{};
  return ::fstat(descriptor, &held) == 0 && ::stat(path.c_str(), &there) == 0 && held.st_ino == there.st_ino &&
         held.st_dev == there.st_dev;
}

}  // namespace

Result<LockFile> LockFile::take(const std::string& path, const std::function<Result<void>()>& waiting) {
  std::error_code ignored;
  std::filesystem::create_directories(parent_folder(path), ignored);
  for (;;) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    if (descriptor < 0) return fail(ErrorCode::io, "{}: cannot make the lock: {}", path, std::strerror(errno));
    LockFile lock(descriptor);
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
      if (is_still_there(descriptor, path)) return lock;
      continue;
    }
    // Some network file systems have no locks: what is written there is renamed into place, so nothing breaks.
    if (errno == ENOTSUP || errno == ENOSYS || errno == ENOLCK) return lock;
    if (errno != EWOULDBLOCK && errno != EINTR)
      return fail(ErrorCode::io, "{}: cannot lock: {}", path, std::strerror(errno));
    MOXIE_TRY_VOID(waiting());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

LockFile::~LockFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace moxie

#include "core/file_identity.h"

#include <sys/stat.h>

#include "core/fail.h"

namespace moxie {
namespace {

void fill(const struct stat& status, FileIdentity* identity) {
  identity->device = static_cast<uint64_t>(status.st_dev);
  identity->inode = static_cast<uint64_t>(status.st_ino);
  identity->bytes = static_cast<uint64_t>(status.st_size);
#ifdef __APPLE__
  identity->seconds = status.st_mtimespec.tv_sec;
  identity->nanoseconds = status.st_mtimespec.tv_nsec;
#else
  identity->seconds = status.st_mtim.tv_sec;
  identity->nanoseconds = status.st_mtim.tv_nsec;
#endif
}

}  // namespace

bool identify(int descriptor, FileIdentity* identity) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return false;
  fill(status, identity);
  return true;
}

bool identify(const std::string& path, FileIdentity* identity) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return false;
  fill(status, identity);
  return true;
}

Error changed_file(const std::string& path, std::string_view what) {
  return fail(ErrorCode::corrupt, "{} was {} while in use: start again, and leave the file alone meanwhile", path,
              what);
}

Result<void> check_content(const std::string& path, int descriptor, const FileIdentity& before) {
  FileIdentity now;
  if (!identify(descriptor, &now)) return {};
  if (now.bytes < before.bytes)
    return changed_file(path, fmt::format("truncated from {} to {} bytes", before.bytes, now.bytes));
  if (now.bytes != before.bytes)
    return changed_file(path, fmt::format("extended from {} to {} bytes", before.bytes, now.bytes));
  if (now.seconds != before.seconds || now.nanoseconds != before.nanoseconds) return changed_file(path, "written to");
  return {};
}

}  // namespace moxie

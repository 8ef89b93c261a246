#include "core/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"

namespace moxie {
namespace {

// So much may wait in the page cache: a large file would otherwise fill it, and commit() take minutes without a sign.
constexpr uint64_t kWindowBytes = uint64_t{32} << 20;
constexpr int kNames = 100;

bool is_there(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

Result<void> check_free(const std::string& path, NewFile::Overwrite overwrite) {
  if (path.empty()) return fail(ErrorCode::invalid_argument, "no file is named to write to");
  if (is_folder(path)) {
    return fail(ErrorCode::invalid_argument, "{}: is a folder; name the file to write in it", path);
  }
  if (overwrite == NewFile::Overwrite::no && is_there(path)) {
    return fail(ErrorCode::invalid_argument, "{}: is there already; name another file, or give --force", path);
  }
  if (is_present(path) && !is_file(path)) {
    return fail(ErrorCode::invalid_argument, "{}: is no regular file; name another", path);
  }
  return {};
}

std::string temporary_name(const std::string& path, int attempt) {
  return fmt::format("{}.{}-{}.part", path, ::getpid(), attempt);
}

// A file that nothing is left of, however the process ends. -1 where the file system has no such files, or they could
// not be given a name afterwards.
int open_nameless(const std::string& folder) {
#ifdef O_TMPFILE
  const int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (descriptor < 0) return -1;
  if (::access(fmt::format("/proc/self/fd/{}", descriptor).c_str(), F_OK) == 0) return descriptor;
  ::close(descriptor);
#else
  (void)folder;
#endif
  return -1;
}

// Sets room aside without writing. Not every file system can.
int reserve(int descriptor, uint64_t bytes) {
#ifdef __linux__
  int result;
  do {
    result = ::fallocate(descriptor, 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0 || (errno != ENOSPC && errno != EDQUOT && errno != EFBIG)) return 0;
  return errno;
#else
  (void)descriptor, (void)bytes;
  return 0;
#endif
}

}  // namespace

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      bytes_(other.bytes_),
      overwrite_(other.overwrite_),
      window_(other.window_) {}

Result<void> check_room(const std::string& path, uint64_t bytes) {
  struct statvfs status {};
  const std::string folder = parent_folder(path);
  if (::statvfs(folder.c_str(), &status) != 0) return {};  // creating the file tells why
  const uint64_t room = static_cast<uint64_t>(status.f_bavail) * status.f_frsize;
  if (bytes <= room) return {};
  return fail(ErrorCode::io, "{}: needs {}, but {} has room for {}; make room, or name a place on another disk", path,
              human_bytes(bytes), folder, human_bytes(room));
}

Result<void> check_writable(const std::string& path, bool overwrite) {
  MOXIE_TRY(const NewFile trial,
            NewFile::create(path, 0, overwrite ? NewFile::Overwrite::yes : NewFile::Overwrite::no));
  return {};
}

Result<NewFile> NewFile::create(const std::string& path, uint64_t bytes, Overwrite overwrite) {
  MOXIE_TRY_VOID(check_free(path, overwrite));
  std::string temporary;
  int descriptor = open_nameless(parent_folder(path));
  // A name that an earlier process of this number left behind is passed over.
  for (int attempt = 0; descriptor < 0 && attempt < kNames; ++attempt) {
    temporary = temporary_name(path, attempt);
    descriptor = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0 && errno != EEXIST && errno != EINTR) break;
  }
  if (descriptor < 0) {
    const ErrorCode code = errno == ENOENT || errno == ENOTDIR ? ErrorCode::not_found : ErrorCode::io;
    return fail(code, "{}: cannot write into {}: {}", path, parent_folder(path), std::strerror(errno));
  }
  NewFile file(path, temporary, descriptor, bytes, overwrite);
  if (const int error = reserve(descriptor, bytes); error != 0) return file.cannot_write(error);
  if (::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) return file.cannot_write(errno);
  return file;
}

NewFile::~NewFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> NewFile::give_name() {
#ifdef __linux__
  const std::string file = fmt::format("/proc/self/fd/{}", descriptor_);
  for (int attempt = 0; attempt < kNames; ++attempt) {
    std::string name = temporary_name(path_, attempt);
    if (::linkat(AT_FDCWD, file.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporary_ = std::move(name);
      return {};
    }
    if (errno != EEXIST && errno != EINTR) break;
  }
#endif
  return fail(ErrorCode::io, "{}: cannot name the file written: {}", path_, std::strerror(errno));
}

Error NewFile::cannot_write(int error) const {
  const char* remedy = "";
  if (error == ENOSPC || error == EDQUOT)
    remedy = "; make room, or name a file on another disk. Nothing was left behind";
  if (error == EFBIG) remedy = ", larger than this file system or ulimit -f allows; name a file elsewhere";
  return fail(ErrorCode::io, "{}: cannot write its {}: {}{}", path_, human_bytes(bytes_), std::strerror(error), remedy);
}

Result<void> NewFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return cannot_write(errno);
    offset += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  write_behind(offset);
  return {};
}

// Starts writing a window out and waits for the one before it, whose pages are then given back.
void NewFile::write_behind(uint64_t end) {
#ifdef __linux__
  for (; end > window_ && end - window_ >= kWindowBytes; window_ += kWindowBytes) {
    ::sync_file_range(descriptor_, static_cast<off_t>(window_), static_cast<off_t>(kWindowBytes),
                      SYNC_FILE_RANGE_WRITE);
    if (window_ < kWindowBytes) continue;
    const auto before = static_cast<off_t>(window_ - kWindowBytes);
    constexpr unsigned kFinish = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    ::sync_file_range(descriptor_, before, static_cast<off_t>(kWindowBytes), kFinish);
    ::posix_fadvise(descriptor_, before, static_cast<off_t>(kWindowBytes), POSIX_FADV_DONTNEED);
  }
#else
  (void)end;
#endif
}

Result<void> NewFile::commit() {
  if (::fsync(descriptor_) != 0) return cannot_write(errno);
  MOXIE_TRY_VOID(check_free(path_, overwrite_));  // hours may have passed
  if (temporary_.empty()) MOXIE_TRY_VOID(give_name());
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return fail(ErrorCode::io, "{}: cannot rename {} to it: {}", path_, temporary_, std::strerror(errno));
  }
  const int result = ::close(std::exchange(descriptor_, -1));
  if (result != 0 && errno != EINTR) return cannot_write(errno);
  // The name too must outlive a power cut. What folder cannot be opened or synced is none that needs it.
  const int folder = ::open(parent_folder(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

}  // namespace moxie

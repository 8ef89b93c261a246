#include "core/direct_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "core/fail.h"

#if defined(MOXIE_DIRECT_IO) && !defined(O_DIRECT)
#undef MOXIE_DIRECT_IO
#endif

namespace moxie {
namespace {

// Blocks larger than this would need more room around every expert than they are worth.
[[maybe_unused]] constexpr uint64_t kMaxAlignment = 65536;

int open_descriptor(const std::string& path, int flags) {
  int descriptor;
  do {
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

Error cannot_open(const std::string& path, int error) {
  const ErrorCode code = error == ENOENT || error == ENOTDIR ? ErrorCode::not_found : ErrorCode::io;
  const char* remedy = error == EMFILE || error == ENFILE ? ": allow more open files (ulimit -n)" : "";
  return fail(code, "{}: cannot open: {}{}", path, std::generic_category().message(error), remedy);
}

}  // namespace

bool DirectFile::supported() {
#ifdef MOXIE_DIRECT_IO
  return true;
#else
  return false;
#endif
}

Result<std::unique_ptr<DirectFile>> DirectFile::open(const std::string& path, bool direct) {
  std::unique_ptr<DirectFile> file(new DirectFile());
  file->path_ = path;
  std::error_code
      ignored;  // then a change of the working folder may be taken for a removed file, after a failed read only
  file->absolute_path_ = std::filesystem::absolute(path, ignored).string();
  if (ignored) file->absolute_path_ = path;

  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return cannot_open(path, errno);
  // Before opening: opening a pipe waits for its other end.
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::invalid_argument, "{}: is not a regular file", path);

#ifdef MOXIE_DIRECT_IO
  if (direct) {
    file->descriptor_ = open_descriptor(path, O_DIRECT);
    file->direct_ = file->descriptor_ >= 0;
    if (file->descriptor_ < 0)
      file->refusal_ = std::generic_category().message(errno);  // whatever it was: opening without tells the rest
  }
#else
  static_cast<void>(direct);
#endif
  if (file->descriptor_ < 0) file->descriptor_ = open_descriptor(path, 0);
  if (file->descriptor_ < 0) return cannot_open(path, errno);
  if (!identify(file->descriptor_, &file->identity_) || !identify(file->absolute_path_, &file->path_identity_)) {
    return fail(ErrorCode::io, "{}: cannot stat: {}", path, std::generic_category().message(errno));
  }
  file->probe_direct();
#ifdef POSIX_FADV_RANDOM
  // Without reading ahead: what is needed next is known here, not there.
  if (!file->direct()) ::posix_fadvise(file->descriptor_, 0, 0, POSIX_FADV_RANDOM);
#endif
  return file;
}

DirectFile::~DirectFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

// What direct reads of this file need, and whether they work at all: some file systems take the flag and refuse the
// first read.
void DirectFile::probe_direct() {
#ifdef MOXIE_DIRECT_IO
  if (!direct()) return;
#ifdef STATX_DIOALIGN
  struct statx status {};
  if (::statx(descriptor_, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
      (status.stx_mask & STATX_DIOALIGN) != 0) {
    const uint64_t wanted = std::max<uint64_t>(status.stx_dio_mem_align, status.stx_dio_offset_align);
    if (status.stx_dio_offset_align == 0 || status.stx_dio_mem_align == 0) {
      refusal_ = "it says so";
    } else if (wanted > kMaxAlignment || !std::has_single_bit(wanted)) {
      refusal_ = fmt::format("it wants blocks of {} bytes; the limit is {}", wanted, kMaxAlignment);
    } else {
      alignment_ = std::max(kMinAlignment, wanted);
    }
  }
#endif
  if (refusal_.empty()) {
    const std::unique_ptr<void, decltype(&std::free)> block(std::aligned_alloc(alignment_, alignment_), &std::free);
    const int64_t got = block ? read(0, alignment_, static_cast<std::byte*>(block.get())) : -ENOMEM;
    // Other errors are the business of whoever reads, who can name the range.
    if (got == -EINVAL || got == -EOPNOTSUPP) refusal_ = std::generic_category().message(static_cast<int>(-got));
  }
  if (!refusal_.empty()) {
    alignment_ = kMinAlignment;
    stop_direct();
  }
#endif
}

bool DirectFile::stop_direct() {
#ifdef MOXIE_DIRECT_IO
  if (!direct_.exchange(false)) return false;
  // On the open file itself, so that a copy of the descriptor registered elsewhere follows.
  const int flags = ::fcntl(descriptor_, F_GETFL);
  if (flags >= 0) ::fcntl(descriptor_, F_SETFL, flags & ~O_DIRECT);
  return true;
#else
  return false;
#endif
}

int64_t DirectFile::read(uint64_t offset, uint64_t bytes, std::byte* into) const {
  const ssize_t got = ::pread(descriptor_, into, bytes, static_cast<off_t>(offset));
  return got < 0 ? -static_cast<int64_t>(errno) : got;
}

void DirectFile::forget(uint64_t offset, uint64_t bytes) const {
#ifdef POSIX_FADV_DONTNEED
  ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED);
#else
  static_cast<void>(offset), static_cast<void>(bytes);
#endif
}

Result<void> DirectFile::check_content() const {
  return moxie::check_content(path_, descriptor_, identity_);
}

Result<void> DirectFile::check_unchanged() const {
  MOXIE_TRY_VOID(check_content());
  FileIdentity now;
  if (identify(absolute_path_, &now)) {
    if (now.device != path_identity_.device || now.inode != path_identity_.inode)
      return changed_file(path_, "replaced");
  } else if (errno == ENOENT || errno == ENOTDIR) {
    return changed_file(path_, "removed");
  }
  return {};
}

}  // namespace moxie

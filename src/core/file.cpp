#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/fail.h"
#include "core/mount.h"

namespace moxie {
namespace {
constexpr size_t kReadPieceBytes = size_t{1} << 30;  // Linux transfers at most about 2 GiB a call
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), bytes_);
}

Result<File> File::open(const std::string& path) {
  if (auto mounted = find_mounted(path)) {
    const FileTree::Entry* entry = mounted->entry();
    if (entry == nullptr) return fail(ErrorCode::not_found, "{}: there is no such file", path);
    File file(path, -1, entry->bytes);
    file.mounted_ = std::make_shared<const MountedPath>(std::move(*mounted));
    return file;
  }
  int descriptor;
  do {
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) {
    const ErrorCode code = errno == ENOENT || errno == ENOTDIR ? ErrorCode::not_found : ErrorCode::io;
    return fail(code, "{}: cannot open: {}", path, std::strerror(errno));
  }
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    const Error error = fail(ErrorCode::io, "{}: cannot stat: {}", path, std::strerror(errno));
    ::close(descriptor);
    return error;
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return fail(ErrorCode::invalid_argument, "{}: is not a regular file", path);
  }
  return File(path, descriptor, static_cast<uint64_t>(status.st_size));
}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(bytes_, other.bytes_);
  std::swap(mounted_, other.mounted_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<void> File::read_at(uint64_t offset, std::span<std::byte> into) const {
  if (mounted_ != nullptr && offset <= bytes_ && into.size() <= bytes_ - offset)
    return mounted_->tree->read(*mounted_->entry(), offset, into);
  size_t done = 0;
  while (done < into.size()) {
    const size_t piece = std::min(into.size() - done, kReadPieceBytes);
    const ssize_t got =
        mounted_ != nullptr ? 0 : ::pread(descriptor_, into.data() + done, piece, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return fail(ErrorCode::io, "{}: reading {} bytes at {}: {}", path_, piece, offset + done, std::strerror(errno));
    }
    if (got == 0) {
      return fail(ErrorCode::corrupt,
                  "{}: ends at {} bytes, but {} are needed: the file is truncated; download it again", path_,
                  offset + done, offset + into.size());
    }
    done += static_cast<size_t>(got);
  }
  return {};
}

Result<Mapping> File::map() const {
  if (mounted_ != nullptr) return fail(ErrorCode::unsupported, "{}: is not on this machine; pull it first", path_);
  if (bytes_ == 0) return Mapping();
  void* data = ::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, descriptor_, 0);
  if (data == MAP_FAILED) {
    return fail(ErrorCode::io, "{}: cannot map {} bytes: {}", path_, bytes_, std::strerror(errno));
  }
  return Mapping(static_cast<const std::byte*>(data), bytes_);
}

}  // namespace moxie

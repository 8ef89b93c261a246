#include "core/disappearing_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/fail.h"

namespace moxie {

Result<DisappearingFile> DisappearingFile::take(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, "{}: cannot open: {}", path,
                std::strerror(errno));
  }
  std::string open = fmt::format("/proc/self/fd/{}", descriptor);
  if (::access(open.c_str(), R_OK) != 0) return DisappearingFile(path, path, descriptor);
  ::unlink(path.c_str());
  return DisappearingFile(std::move(open), {}, descriptor);
}

DisappearingFile::DisappearingFile(DisappearingFile&& other) noexcept
    : path_(std::move(other.path_)),
      name_(std::exchange(other.name_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

DisappearingFile::~DisappearingFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!name_.empty()) ::unlink(name_.c_str());
}

}  // namespace moxie

#include "core/replace_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/fail.h"
#include "core/file.h"
#include "core/folder.h"

namespace moxie {
namespace {

Result<void> make_folders(const std::string& path) {
  if (path.empty() || is_folder(path)) return {};
  if (const std::string parent = parent_folder(path); parent != path) MOXIE_TRY_VOID(make_folders(parent));
  if (::mkdir(path.c_str(), 0700) == 0 || (errno == EEXIST && is_folder(path))) return {};
  return fail(ErrorCode::io, "{}: cannot make the folder: {}", path, std::strerror(errno));
}

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

Result<void> replace_file(const std::string& path, std::string_view text) {
  MOXIE_TRY_VOID(make_folders(parent_folder(path)));
  std::string beside = path + ".XXXXXX";
  const int descriptor = ::mkstemp(beside.data());
  if (descriptor < 0) return fail(ErrorCode::io, "{}: cannot write: {}", path, std::strerror(errno));
  int error = write_all(descriptor, text) ? 0 : errno;
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(beside.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return {};
  ::unlink(beside.c_str());
  return fail(ErrorCode::io, "{}: cannot write: {}", path, std::strerror(error));
}

Result<std::string> read_small_file(const std::string& path, uint64_t bytes_max) {
  MOXIE_TRY(const File file, File::open(path));
  if (file.bytes() > bytes_max) {
    return fail(ErrorCode::corrupt, "{}: has {} bytes, more than the {} that such a file may have", path, file.bytes(),
                bytes_max);
  }
  std::string text(file.bytes(), '\0');
  MOXIE_TRY_VOID(file.read_at(0, {reinterpret_cast<std::byte*>(text.data()), text.size()}));
  return text;
}

}  // namespace moxie

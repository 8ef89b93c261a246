#include "hub/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/ascii.h"
#include "core/fail.h"
#include "core/file.h"
#include "core/folder.h"

namespace moxie {
namespace {

constexpr size_t kReadBytes = size_t{4} << 20;

Error cannot(const std::string& path, std::string_view what, int error) {
  return fail(ErrorCode::io, "{}: cannot {}: {}{}", path, what, std::strerror(error),
              error == ENOSPC || error == EDQUOT ? "; free some space and run the same command again: it goes on where "
                                                   "it stopped"
                                                 : "");
}

// Calls take(text) with all of a file.
template <typename Take>
Result<void> read_all(const std::string& path, Take take) {
  MOXIE_TRY(const File file, File::open(path));
  std::vector<std::byte> buffer(kReadBytes);
  for (uint64_t at = 0; at < file.bytes(); at += buffer.size()) {
    buffer.resize(static_cast<size_t>(std::min<uint64_t>(kReadBytes, file.bytes() - at)));
    MOXIE_TRY_VOID(file.read_at(at, buffer));
    MOXIE_TRY_VOID(take(std::string_view(reinterpret_cast<const char*>(buffer.data()), buffer.size())));
  }
  return {};
}

}  // namespace

EtagDigest::EtagDigest(std::string_view etag, std::optional<uint64_t> bytes) : etag_(etag) {
  if (!is_lower_hex(etag)) return;
  if (etag.size() == 64) digest_.emplace<Sha256>();
  if (etag.size() == 40 && bytes) {
    digest_.emplace<Sha1>().update(fmt::format("blob {}", *bytes) + '\0');
  }
}

void EtagDigest::update(std::string_view bytes) {
  if (auto* sha256 = std::get_if<Sha256>(&digest_)) sha256->update(bytes);
  if (auto* sha1 = std::get_if<Sha1>(&digest_)) sha1->update(bytes);
}

bool EtagDigest::matches() {
  if (auto* sha256 = std::get_if<Sha256>(&digest_)) found_ = sha256->hex();
  if (auto* sha1 = std::get_if<Sha1>(&digest_)) found_ = sha1->hex();
  return !is_known() || found_ == etag_;
}

Result<PartialFile> PartialFile::open(const std::string& path, std::string_view etag, std::optional<uint64_t> whole) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) return cannot(path, "write", errno);
  PartialFile file(path, etag, whole, descriptor);
  MOXIE_TRY_VOID(file.read_existing());
  return file;
}

PartialFile::~PartialFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<void> PartialFile::read_existing() {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) return cannot(path_, "stat", errno);
  const auto there = static_cast<uint64_t>(status.st_size);
  if (there == 0) return {};
  if (whole_ && there > *whole_) return restart();
  return read_all(path_, [this](std::string_view piece) -> Result<void> {
    digest_.update(piece);
    bytes_ += piece.size();
    return {};
  });
}

Result<void> PartialFile::append(std::string_view bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote =
        ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(bytes_ + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return cannot(path_, "write", errno);
    done += static_cast<size_t>(wrote);
  }
  digest_.update(bytes);
  bytes_ += bytes.size();
  return {};
}

Result<void> PartialFile::restart() {
  if (::ftruncate(descriptor_, 0) != 0) return cannot(path_, "empty", errno);
  digest_ = EtagDigest(etag_, whole_);
  bytes_ = 0;
  return {};
}

Result<void> PartialFile::append_file(const std::string& path) {
  return read_all(path, [this](std::string_view piece) { return append(piece); });
}

Result<void> PartialFile::finish(const std::string& final_path) {
  if (whole_ && bytes_ != *whole_) {
    ::unlink(path_.c_str());
    return fail(ErrorCode::corrupt,
                "{}: {} bytes came, but the hub says {}: nothing is kept; try again, and if it stays so ask who "
                "published the file",
                file_name(final_path), bytes_, *whole_);
  }
  bool right = digest_.matches();
  if (!whole_) {  // git's digest begins with the length, which is known only now
    MOXIE_TRY(right, file_matches_etag(path_, etag_));
  }
  if (!right) {
    ::unlink(path_.c_str());
    return fail(ErrorCode::corrupt,
                "{}: what came is not what the hub describes: digest {}, expected {}: nothing is kept; try again, and "
                "if it stays so look for a proxy or mirror that changes files",
                file_name(final_path), digest_.found(), etag_);
  }
  if (::fsync(descriptor_) != 0) return cannot(path_, "write out", errno);
  if (std::rename(path_.c_str(), final_path.c_str()) != 0) return cannot(final_path, "rename to", errno);
  return {};
}

Result<bool> file_matches_etag(const std::string& path, std::string_view etag) {
  MOXIE_TRY(const File file, File::open(path));
  EtagDigest digest(etag, file.bytes());
  if (!digest.is_known()) return true;
  MOXIE_TRY_VOID(read_all(path, [&](std::string_view piece) -> Result<void> {
    digest.update(piece);
    return {};
  }));
  return digest.matches();
}

}  // namespace moxie

#include "convert/weight_bytes.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/fail.h"

namespace moxie {
namespace {

constexpr uint64_t kBufferBytes = uint64_t{4} << 20;

}  // namespace

Result<WeightBytes> WeightBytes::open(const WeightFiles& files) {
  WeightBytes bytes;
  for (const WeightPart& part : files.files) {
    MOXIE_TRY(auto file, DirectFile::open(part.path, false));
    if (file->bytes() != part.bytes) {
      return fail(
          ErrorCode::corrupt,
          "{}: has {} bytes now and had {} when it was opened: it is being changed; try again when that is done",
          part.path, file->bytes(), part.bytes);
    }
    bytes.files_.push_back(std::move(file));
  }
  MOXIE_TRY(bytes.buffer_, Buffer::allocate(kBufferBytes));
  return bytes;
}

Result<void> WeightBytes::read(const WeightRange& range,
                               const std::function<Result<void>(std::span<const std::byte>)>& take) const {
  const DirectFile& file = *files_[static_cast<size_t>(range.file)];
  for (uint64_t done = 0; done < range.bytes;) {
    const uint64_t wanted = std::min(range.bytes - done, kBufferBytes);
    const int64_t got = file.read(range.offset + done, wanted, buffer_.data());
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got < 0) {
      return fail(ErrorCode::io, "{}: reading {} bytes at {}: {}", file.path(), wanted, range.offset + done,
                  std::strerror(static_cast<int>(-got)));
    }
    if (got == 0) {
      return fail(ErrorCode::corrupt, "{}: ends at {} bytes, but {} are needed: it was cut meanwhile; get it again",
                  file.path(), range.offset + done, range.offset + range.bytes);
    }
    file.forget(range.offset + done, static_cast<uint64_t>(got));
    MOXIE_TRY_VOID(take({buffer_.data(), static_cast<size_t>(got)}));
    done += static_cast<uint64_t>(got);
  }
  return {};
}

Result<void> WeightBytes::check_unchanged() const {
  for (const auto& file : files_) MOXIE_TRY_VOID(file->check_unchanged());
  return {};
}

}  // namespace moxie

#include "core/byte_reader.h"

#include <algorithm>
#include <bit>

namespace moxie {

static_assert(std::endian::native == std::endian::little, "ByteReader copies numbers as they lie in the file");

Error ByteReader::ended(uint64_t wanted) const {
  return fail(
      ErrorCode::corrupt,
      "{}: the header is cut off: {} more bytes are needed at byte {}, but the file ends at byte {}; the download is "
      "incomplete or the file is damaged: download it again",
      path(), wanted, position_, source_.bytes());
}

Result<void> ByteReader::fill() {
  const size_t bytes = static_cast<size_t>(std::min<uint64_t>(kBufferBytes, remaining()));
  buffer_.resize(bytes);
  taken_ = 0;
  return source_.read_at(position_, buffer_);
}

Result<void> ByteReader::read_bytes(std::span<std::byte> into) {
  if (into.size() > remaining()) return ended(into.size());
  while (!into.empty()) {
    if (taken_ == buffer_.size()) MOXIE_TRY_VOID(fill());
    const size_t piece = std::min(into.size(), buffer_.size() - taken_);
    std::memcpy(into.data(), buffer_.data() + taken_, piece);
    taken_ += piece;
    position_ += piece;
    into = into.subspan(piece);
  }
  return {};
}

Result<std::string> ByteReader::read_string(uint64_t length) {
  if (length > remaining()) return ended(length);
  std::string text(static_cast<size_t>(length), '\0');
  MOXIE_TRY_VOID(read_bytes(std::as_writable_bytes(std::span(text.data(), text.size()))));
  return text;
}

Result<std::string> read_start(const ByteSource& source, size_t limit) {
  std::string text(static_cast<size_t>(std::min<uint64_t>(limit, source.bytes())), '\0');
  MOXIE_TRY_VOID(source.read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
  return text;
}

Result<std::string> read_text_file(const std::string& path, uint64_t limit) {
  MOXIE_TRY(const FileSource source, FileSource::open(path));
  if (source.bytes() > limit) {
    return fail(ErrorCode::unsupported,
                "{}: is {} bytes, more than the {} that moxie reads of such a file; is it the right one?", path,
                source.bytes(), limit);
  }
  return read_start(source, static_cast<size_t>(limit));
}

}  // namespace moxie

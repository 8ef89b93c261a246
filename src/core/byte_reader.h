// Reading little-endian numbers and strings from a file or from memory, front to back, through a small buffer: a header
// is read without touching the gigabytes behind it. A ByteSource may be shared by threads; a ByteReader belongs to one.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/fail.h"
#include "core/file.h"
#include "moxie/error.h"

namespace moxie {

// Where bytes come from.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual const std::string& path() const = 0;  // names the source in errors
  virtual uint64_t bytes() const = 0;
  // Fills `into` from `offset`. REQUIRES: offset + into.size() <= bytes().
  virtual Result<void> read_at(uint64_t offset, std::span<std::byte> into) const = 0;
};

class FileSource final : public ByteSource {
 public:
  static Result<FileSource> open(const std::string& path) {
    MOXIE_TRY(File file, File::open(path));
    return FileSource(std::move(file));
  }
  const std::string& path() const override { return file_.path(); }
  uint64_t bytes() const override { return file_.bytes(); }
  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    return file_.read_at(offset, into);
  }

 private:
  explicit FileSource(File file) : file_(std::move(file)) {}
  File file_;
};

// Bytes somebody else owns, under a name for errors.
class MemorySource final : public ByteSource {
 public:
  MemorySource(std::string name, std::string_view bytes) : name_(std::move(name)), bytes_(bytes) {}
  const std::string& path() const override { return name_; }
  uint64_t bytes() const override { return bytes_.size(); }
  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (!into.empty()) std::memcpy(into.data(), bytes_.data() + offset, into.size());
    return {};
  }

 private:
  std::string name_;
  std::string_view bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(const ByteSource& source, uint64_t position = 0) : source_(source), position_(position) {}

  const std::string& path() const { return source_.path(); }
  uint64_t position() const { return position_; }
  uint64_t remaining() const { return source_.bytes() > position_ ? source_.bytes() - position_ : 0; }

  // A little-endian integer or IEEE number; corrupt where the source ends first.
  template <typename T>
  requires std::integral<T> || std::floating_point<T> Result<T> read() {
    T value{};
    MOXIE_TRY_VOID(read_bytes(std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  // `length` bytes; checked against what remains before memory is taken.
  Result<std::string> read_string(uint64_t length);
  Result<void> read_bytes(std::span<std::byte> into);

 private:
  Error ended(uint64_t wanted) const;
  Result<void> fill();

  static constexpr size_t kBufferBytes = 256 * 1024;

  const ByteSource& source_;
  uint64_t position_;
  std::vector<std::byte> buffer_;
  size_t taken_ = 0;  // bytes of buffer_ already handed out
};

// The source's first bytes, at most `limit`.
Result<std::string> read_start(const ByteSource& source, size_t limit);
// A whole small file as text. Errors: unsupported where it is larger than `limit` bytes.
Result<std::string> read_text_file(const std::string& path, uint64_t limit);

}  // namespace moxie

// A file that a hub's bytes are appended to, in order, and whose digest is computed on the way. It stays where it is
// when a download ends early, so that the next one goes on from its end. Belongs to one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/digest.h"
#include "moxie/error.h"

namespace moxie {

// What an etag says of the content: 64 digits are its SHA-256, 40 git's SHA-1 of a blob; of others nothing is known.
class EtagDigest {
 public:
  // A blob's digest begins with its length, so nothing is checked of a small file whose length is unknown.
  EtagDigest(std::string_view etag, std::optional<uint64_t> bytes);
  bool is_known() const { return !std::holds_alternative<std::monostate>(digest_); }
  void update(std::string_view bytes);
  // Once, at the end. True where nothing is known.
  bool matches();
  const std::string& found() const { return found_; }  // after matches()

 private:
  std::string etag_, found_;
  std::variant<std::monostate, Sha256, Sha1> digest_;
};

class PartialFile {
 public:
  // Goes on with what lies at `path`, which is read for the digest; starts over where it is longer than the whole.
  static Result<PartialFile> open(const std::string& path, std::string_view etag, std::optional<uint64_t> whole);
  PartialFile(PartialFile&& other) noexcept
      : path_(std::move(other.path_)),
        etag_(std::move(other.etag_)),
        whole_(other.whole_),
        digest_(std::move(other.digest_)),
        descriptor_(std::exchange(other.descriptor_, -1)),
        bytes_(other.bytes_) {}
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile();

  const std::string& path() const { return path_; }
  uint64_t bytes() const { return bytes_; }
  std::optional<uint64_t> whole() const { return whole_; }
  Result<void> append(std::string_view bytes);
  Result<void> restart();  // from zero
  Result<void> append_file(const std::string& path);
  // It is complete: checks length and digest, writes it to the disk and gives it its name. Errors: corrupt, and the
  // partial file is gone then; io.
  Result<void> finish(const std::string& final_path);

 private:
  PartialFile(std::string path, std::string_view etag, std::optional<uint64_t> whole, int descriptor)
      : path_(std::move(path)), etag_(etag), whole_(whole), digest_(etag, whole), descriptor_(descriptor) {}
  Result<void> read_existing();

  std::string path_, etag_;
  std::optional<uint64_t> whole_;
  EtagDigest digest_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
};

// Whether a file is what an etag says; true where the etag tells nothing. Errors: io, not_found.
Result<bool> file_matches_etag(const std::string& path, std::string_view etag);

}  // namespace moxie

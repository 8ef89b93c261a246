// What the bytes of a file must hash to, where the store it lies in tells: blobs are named by their digest. Stateless,
// thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "moxie/error.h"

namespace moxie {

struct KnownDigest {
  enum class Kind : uint8_t { sha256, git_sha1 } kind = Kind::sha256;  // git_sha1: of "blob SIZE\0" and the content
  std::string hex;                                                     // lower case
  std::string source;                                                  // the path that tells
};

// From the name of the blob (Hugging Face's cache, Ollama) that `path` is or links to, or from the metadata that a
// download to a folder leaves beside it. Nothing where neither is there.
std::optional<KnownDigest> known_digest(const std::string& path);

// Reads the file and gives its digest. `progress` hears how many bytes more were read; false gives up.
// Errors: not_found, io, cancelled.
Result<std::string> digest_of_file(const std::string& path, KnownDigest::Kind kind,
                                   const std::function<bool(uint64_t more)>& progress);

}  // namespace moxie

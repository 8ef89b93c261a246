// Replaces small files whole: a reader sees the old text or the new one, never a part. Stateless, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "moxie/error.h"

namespace moxie {

// Writes `text` beside `path` and renames it there. Missing folders are made, for this user alone; so is the file. Not
// synced: after a power cut it may be empty. Errors: io; the old file is then as it was, and nothing is left beside it.
Result<void> replace_file(const std::string& path, std::string_view text);

// All of a file that somebody may have changed. Errors: not_found, io, corrupt beyond `bytes_max`.
Result<std::string> read_small_file(const std::string& path, uint64_t bytes_max);

}  // namespace moxie

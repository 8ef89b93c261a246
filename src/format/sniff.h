// What a file is when it is not a model: the usual wrong downloads, each by name and with what to do. Stateless,
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "moxie/error.h"

namespace moxie {

constexpr size_t kSniffBytes = 64 * 1024;

// Errors not_found for an absent path (a broken link is named as the unfinished download it usually is).
Result<void> check_exists(const std::string& path);
// Errors: unsupported for a file whose name says that it is of another program, though its bytes do not.
Result<void> check_ending(const std::string& path);
// The error for what the first bytes show to be something else than any weight file; nullopt where they show nothing
// known.
std::optional<Error> diagnose_bytes(const std::string& path, std::string_view first_bytes, uint64_t file_bytes);
// Never ok for first bytes that no format recognises: diagnose_bytes, or that the file is unknown.
Error unknown_file_error(const std::string& path, std::string_view first_bytes, uint64_t file_bytes);

}  // namespace moxie

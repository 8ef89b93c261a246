// What a file was at some moment, so that a change underneath can be told later. Plain data, plain functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "moxie/error.h"

namespace moxie {

struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t bytes = 0;
  int64_t seconds = 0;  // of the last change
  int64_t nanoseconds = 0;
};

// False, and errno, where the system does not tell.
bool identify(int descriptor, FileIdentity* identity);
bool identify(const std::string& path, FileIdentity* identity);

// "PATH was WHAT while in use", code corrupt.
Error changed_file(const std::string& path, std::string_view what);
// Errors: corrupt when what is open was cut, extended or written to since `before`. A file that was replaced or removed
// is still there as it was. Nothing is said of a file that the system does not tell of.
Result<void> check_content(const std::string& path, int descriptor, const FileIdentity& before);

}  // namespace moxie

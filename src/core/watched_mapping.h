// A mapped file that may change underneath. Without further ado a page that is no longer there (the file was cut, the
// drive fails) ends the whole program by SIGBUS; here it reads as zeros, and check() tells. The signal's handler is set
// with the first mapping and stays; faults elsewhere are passed on to what handled them before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/file.h"
#include "core/file_identity.h"
#include "moxie/error.h"

namespace moxie {

struct WatchedRange;

// Any number of threads may read the data.
class WatchedMapping {
 public:
  static constexpr int kMost = 1024;  // mappings at once

  // Errors: those of File::open and File::map; unsupported beyond kMost.
  static Result<WatchedMapping> open(const std::string& path);
  WatchedMapping(WatchedMapping&& other) noexcept = default;
  WatchedMapping& operator=(WatchedMapping&& other) = delete;

  const std::byte* data() const { return mapping_.data(); }
  uint64_t bytes() const { return mapping_.bytes(); }
  // Errors: corrupt when the file was cut or written to, io when a page could not be read: what was read since the last
  // check is not to be used. Afterwards pages are asked for anew. REQUIRES: nobody reads the data meanwhile.
  Result<void> check() const;

 private:
  struct Unwatch {
    void operator()(WatchedRange* range) const;
  };
  WatchedMapping(File file, Mapping mapping) : file_(std::move(file)), mapping_(std::move(mapping)) {}

  File file_;
  Mapping mapping_;
  FileIdentity identity_;
  std::unique_ptr<WatchedRange, Unwatch> range_;  // goes before mapping_ does; null: nothing is mapped
};

}  // namespace moxie

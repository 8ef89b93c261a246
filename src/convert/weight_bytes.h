// The bytes of weights, front to back through a small buffer, leaving nothing behind in the page cache. Belongs to one
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "core/direct_file.h"
#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

struct WeightRange {
  int file = 0;  // index into WeightFiles::files
  uint64_t offset = 0, bytes = 0;
};

class WeightBytes {
 public:
  // Errors: what opening gives; corrupt where a file has another size than when its headers were read.
  static Result<WeightBytes> open(const WeightFiles& files);
  // Hands out a range part by part. An error of `take` ends it.
  Result<void> read(const WeightRange& range,
                    const std::function<Result<void>(std::span<const std::byte>)>& take) const;
  // Errors: corrupt when a file was replaced or written to meanwhile.
  Result<void> check_unchanged() const;

 private:
  WeightBytes() = default;
  std::vector<std::unique_ptr<DirectFile>> files_;
  Buffer buffer_;
};

}  // namespace moxie

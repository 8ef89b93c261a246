// Large memory: page-aligned, zeroed, from the system, given back when it dies. Huge pages are asked for where the
// system has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "moxie/error.h"

namespace moxie {

inline constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;  // on x86-64 and most of arm64

class Buffer {
 public:
  Buffer() = default;
  // Errors: out_of_memory (with the size). Pages cost memory only once touched.
  static Result<Buffer> allocate(uint64_t bytes);
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer();

  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  template <typename T>
  std::span<T> as() const {
    return {reinterpret_cast<T*>(data_), bytes_ / sizeof(T)};
  }

 private:
  Buffer(std::byte* data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace moxie

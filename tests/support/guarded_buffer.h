// Memory whose last byte is followed, and whose first page is preceded, by a page that cannot be touched: a kernel that
// reads or writes beyond its data ends the test. For tests only.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <span>

#include "core/check.h"

namespace moxie::test {

class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t body = (bytes + page - 1) / page * page;
    mapped_bytes_ = body + 2 * page;
    void* mapped = mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MOXIE_CHECK(mapped != MAP_FAILED);
    mapped_ = static_cast<std::byte*>(mapped);
    MOXIE_CHECK(body == 0 || mprotect(mapped_ + page, body, PROT_READ | PROT_WRITE) == 0);
    data_ = mapped_ + page + body - bytes;
  }
  ~GuardedBuffer() { munmap(mapped_, mapped_bytes_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  std::byte* data() { return data_; }
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace moxie::test

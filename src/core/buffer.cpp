#include "core/buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "core/fail.h"

namespace moxie {

Result<Buffer> Buffer::allocate(uint64_t bytes) {
  if (bytes == 0) return Buffer();
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return fail(ErrorCode::out_of_memory, "cannot reserve {} bytes: {}", bytes, std::strerror(errno));
  }
#ifdef MADV_HUGEPAGE
  ::madvise(data, bytes, MADV_HUGEPAGE);  // a wish; small pages work as well
#endif
  return Buffer(static_cast<std::byte*>(data), bytes);
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

}  // namespace moxie

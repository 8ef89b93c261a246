#include "core/prefault.h"

#include <sys/mman.h>

#include <algorithm>
#include <system_error>

namespace moxie {

Prefault::Prefault(std::span<std::byte> range, int threads)
    : range_(range), ready_((range.size() + kPieceBytes - 1) / kPieceBytes) {
  try {
    for (int i = 0; i < threads && !ready_.empty(); ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // No more threads are to be had: pages are taken by those there are, or by their first touch.
  }
}

Prefault::~Prefault() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
}

void Prefault::work() {
  for (uint64_t piece; !stop_ && (piece = next_.fetch_add(1)) < ready_.size();) {
#ifdef MADV_POPULATE_WRITE
    const uint64_t begin = piece * kPieceBytes, end = std::min<uint64_t>(range_.size(), begin + kPieceBytes);
    // The call wants whole pages; an error (an older kernel) leaves the pages to their first touch.
    constexpr uintptr_t kPage = 4096;
    const uintptr_t first = reinterpret_cast<uintptr_t>(range_.data() + begin) / kPage * kPage;
    const uintptr_t last = (reinterpret_cast<uintptr_t>(range_.data() + end) + kPage - 1) / kPage * kPage;
    ::madvise(reinterpret_cast<void*>(first), last - first, MADV_POPULATE_WRITE);
#endif
    const std::lock_guard lock(mutex_);
    ready_[piece] = true;
    while (front_ < ready_.size() && ready_[front_]) ++front_;
    changed_.notify_all();
  }
}

void Prefault::wait(uint64_t bytes) {
  const uint64_t pieces = std::min<uint64_t>(ready_.size(), (bytes + kPieceBytes - 1) / kPieceBytes);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return threads_.empty() || front_ >= pieces; });
}

}  // namespace moxie

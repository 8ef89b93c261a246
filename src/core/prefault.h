// Takes pages for a range of fresh memory before they are needed, in the background. The first touch of a page costs:
// the system clears it, and inside a virtual machine the host may have to find it first (seen: 0.4 GB/s on one thread,
// a third of what the drive delivers). Contents are never changed, so reads may land in the range meanwhile.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace moxie {

class Prefault {
 public:
  // Works from the front with so many threads of its own. Where the system has no call for it, it is done at once.
  Prefault(std::span<std::byte> range, int threads);
  ~Prefault();  // stops
  Prefault(const Prefault&) = delete;
  Prefault& operator=(const Prefault&) = delete;

  // Until the first `bytes` of the range have pages.
  void wait(uint64_t bytes);

 private:
  static constexpr uint64_t kPieceBytes = uint64_t{16} << 20;
  void work();

  std::span<std::byte> range_;
  std::atomic<uint64_t> next_{0};  // piece
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> ready_;  // by piece
  uint64_t front_ = 0;       // pieces before it are all ready
  std::vector<std::thread> threads_;
};

}  // namespace moxie

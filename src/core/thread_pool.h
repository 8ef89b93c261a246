// A fixed team of threads for loops. run() may be called from one thread at a time; the caller works too.
// Waiting threads spin for a moment (a decode step has many short loops), then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace moxie {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // REQUIRES: threads >= 1; starts threads - 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(item) once for every item < items, in any order, on any thread; returns when all are done.
  // body must not throw.
  template <typename Body>
  void run(int64_t items, const Body& body) {
    run_erased(items, &body, [](const void* context, int64_t item) { (*static_cast<const Body*>(context))(item); });
  }

 private:
  using Call = void (*)(const void* context, int64_t item);
  void run_erased(int64_t items, const void* context, Call call);
  void work();
  void worker_loop();

  // The current loop. Written by run_erased before generation_ moves on, read by workers after they see it.
  const void* context_ = nullptr;
  Call call_ = nullptr;
  int64_t items_ = 0;

  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int32_t> busy_{0};  // workers that have not finished the current generation
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

}  // namespace moxie

// Threads that do what takes longer than the network thread may wait: JSON, templates, tokens. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace moxie::server {

class WorkerPool {
 public:
  // `limit`: tasks that may wait.
  WorkerPool(int threads, size_t limit);
  // Waits for the tasks that run; those that wait are dropped.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False: too many wait already.
  bool post(std::function<void()> task);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  size_t limit_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace moxie::server

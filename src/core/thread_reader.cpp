// The backend that works everywhere: as many threads as pieces may be in flight, each with one blocking read at a time.
#include <system_error>
#include <thread>
#include <vector>

#include "core/fail.h"
#include "core/read_backend.h"

namespace moxie {
namespace {

class ThreadBackend final : public ReadBackend {
 public:
  explicit ThreadBackend(ReadQueue& queue) : queue_(queue) { threads_.reserve(DiskReader::kMaxDepth); }

  ~ThreadBackend() override {
    for (std::thread& thread : threads_) thread.join();
  }

  std::string_view name() const override { return "threads"; }

  // The queue itself wakes those that sleep in wait_take(); what is left to do is to have enough of them.
  void wake() override {
    const std::lock_guard lock(mutex_);
    const auto wanted = static_cast<size_t>(queue_.setting().depth);
    while (threads_.size() < wanted && !refused_) start();
  }

  size_t threads() const { return threads_.size(); }

 private:
  void start() {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      refused_ = true;
      queue_.notice(
          fmt::format("only {} threads read instead of {}: {}", threads_.size(), queue_.setting().depth, error.what()));
    }
  }

  void work() {
    ReadPiece piece;
    while (queue_.wait_take(&piece)) {
      const DirectFile& file = *queue_.files()[static_cast<size_t>(piece.file)];
      while (!queue_.finish(&piece, file.read(piece.next_offset(), piece.next_bytes(), piece.next_into()))) {
      }
    }
  }

  ReadQueue& queue_;
  std::mutex mutex_;
  bool refused_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<ReadBackend>> make_thread_backend(ReadQueue& queue) {
  auto backend = std::make_unique<ThreadBackend>(queue);
  backend->wake();
  if (backend->threads() == 0) {
    return fail(ErrorCode::unavailable, "cannot start a thread that reads: raise the limit on threads (ulimit -u)");
  }
  return std::unique_ptr<ReadBackend>(std::move(backend));
}

}  // namespace moxie

// The backend on Linux: one thread owns a ring of the kernel's, keeps as many pieces in flight as the queue allows, and
// sleeps in the kernel otherwise. Callers wake it through an eventfd that the ring watches.
#include "core/fail.h"
#include "core/read_backend.h"

#ifdef MOXIE_IO_URING

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "core/check.h"

namespace moxie {
namespace {

constexpr unsigned kEntries = 2 * DiskReader::kMaxDepth;  // every piece, the watch of the eventfd, and room
constexpr uint64_t kWakeUp = ~uint64_t{0};  // user data of the watch; pieces have the number of their slot

class UringBackend final : public ReadBackend {
 public:
  static Result<std::unique_ptr<ReadBackend>> open(ReadQueue& queue) {
    std::unique_ptr<UringBackend> backend(new UringBackend(queue));
    MOXIE_TRY_VOID(backend->set_up());
    return std::unique_ptr<ReadBackend>(std::move(backend));
  }

  ~UringBackend() override {
    if (thread_.joinable()) thread_.join();
    if (ring_open_) io_uring_queue_exit(&ring_);
    if (event_ >= 0) ::close(event_);
  }

  std::string_view name() const override { return "io_uring"; }

  void wake() override {
    if (signalled_.exchange(true)) return;
    const uint64_t one = 1;
    while (::write(event_, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  }

 private:
  explicit UringBackend(ReadQueue& queue) : queue_(queue) {
    for (uint32_t i = 0; i < free_.size(); ++i) free_[i] = i;
  }

  Result<void> set_up() {
    if (const int status = io_uring_queue_init(kEntries, &ring_, 0); status != 0) {
      return fail(ErrorCode::unavailable, "the system refuses a ring: {}", std::generic_category().message(-status));
    }
    ring_open_ = true;
    io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
    const bool reads = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
                       io_uring_opcode_supported(probe, IORING_OP_POLL_ADD) != 0;
    io_uring_free_probe(probe);
    if (!reads) return fail(ErrorCode::unavailable, "the kernel is older than 5.6");
    event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_ < 0) return fail(ErrorCode::unavailable, "no eventfd: {}", std::generic_category().message(errno));
    register_files();
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error& error) {
      return fail(ErrorCode::unavailable, "no thread: {}", error.what());
    }
    return {};
  }

  // Saves the kernel looking up the descriptor for each piece.
  void register_files() {
    std::vector<int> descriptors;
    for (const auto& file : queue_.files()) descriptors.push_back(file->descriptor());
    registered_ = !descriptors.empty() &&
                  io_uring_register_files(&ring_, descriptors.data(), static_cast<unsigned>(descriptors.size())) == 0;
  }

  void run() {
    for (;;) {
      for (; free_count_ > 0 && queue_.take(&pieces_[free_[free_count_ - 1]]); --free_count_)
        issue(free_[free_count_ - 1]);
      if (!watching_) watch();
      if (free_count_ == free_.size() && queue_.stopped()) return;
      sleep();
      reap();
    }
  }

  io_uring_sqe* entry() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    MOXIE_CHECK(entry != nullptr);  // the ring has more entries than there are pieces
    return entry;
  }

  void issue(uint32_t slot) {
    const ReadPiece& piece = pieces_[slot];
    const DirectFile& file = *queue_.files()[static_cast<size_t>(piece.file)];
    io_uring_sqe* read = entry();
    io_uring_prep_read(read, registered_ ? piece.file : file.descriptor(), piece.next_into(),
                       static_cast<unsigned>(piece.next_bytes()), piece.next_offset());
    unsigned flags = registered_ ? IOSQE_FIXED_FILE : 0;
    // A read through the page cache copies: on threads of the kernel's, several at once, rather than on this one.
    if (!file.direct()) flags |= IOSQE_ASYNC;
    io_uring_sqe_set_flags(read, flags);
    io_uring_sqe_set_data64(read, slot);
  }

  void watch() {
    io_uring_sqe* poll = entry();
    io_uring_prep_poll_add(poll, event_, POLLIN);
    io_uring_sqe_set_data64(poll, kWakeUp);
    watching_ = true;
  }

  // Hands the kernel what was issued and returns once something has finished or somebody has called wake().
  void sleep() {
    const int status = io_uring_submit_and_wait(&ring_, 1);
    if (status >= 0 || status == -EINTR) return;
    MOXIE_CHECK(status == -EAGAIN || status == -EBUSY || status == -ENOMEM);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the kernel lacks memory for now
  }

  void reap() {
    io_uring_cqe* done = nullptr;
    while (io_uring_peek_cqe(&ring_, &done) == 0) {
      const uint64_t what = io_uring_cqe_get_data64(done);
      const int result = done->res;
      io_uring_cqe_seen(&ring_, done);
      if (what == kWakeUp) {
        watching_ = false;
        uint64_t count = 0;
        while (::read(event_, &count, sizeof(count)) < 0 && errno == EINTR) {
        }
        signalled_.store(false);  // before the queue is looked at: what comes later signals again
      } else if (const auto slot = static_cast<uint32_t>(what); queue_.finish(&pieces_[slot], result)) {
        free_[free_count_++] = slot;
      } else {
        issue(slot);
      }
    }
  }

  ReadQueue& queue_;
  io_uring ring_{};
  bool ring_open_ = false;
  bool registered_ = false;
  int event_ = -1;
  std::atomic<bool> signalled_{false};  // the eventfd is readable, or about to be
  // Of the thread.
  bool watching_ = false;
  std::array<ReadPiece, DiskReader::kMaxDepth> pieces_;
  std::array<uint32_t, DiskReader::kMaxDepth> free_{};
  size_t free_count_ = DiskReader::kMaxDepth;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<ReadBackend>> make_uring_backend(ReadQueue& queue) {
  return UringBackend::open(queue);
}

}  // namespace moxie

#else

namespace moxie {
Result<std::unique_ptr<ReadBackend>> make_uring_backend(ReadQueue&) {
  return fail(ErrorCode::unavailable, "this build has none");
}
}  // namespace moxie

#endif

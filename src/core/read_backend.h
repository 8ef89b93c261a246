// How pieces get from files into memory: takes them from a ReadQueue and hands them back. One per DiskReader.
#pragma once

#include <memory>
#include <string_view>

#include "core/read_queue.h"

namespace moxie {

class ReadBackend {
 public:
  virtual ~ReadBackend() = default;  // REQUIRES: the queue has stopped
  virtual std::string_view name() const = 0;
  // There is something to take, or the depth has changed, or the queue has stopped.
  virtual void wake() = 0;
};

// Threads that each read one piece at a time. Errors: unavailable, when not one thread can be started.
Result<std::unique_ptr<ReadBackend>> make_thread_backend(ReadQueue& queue);

// One thread and a ring of the kernel's. Errors: unavailable, with the reason, where this build or this system has
// none.
Result<std::unique_ptr<ReadBackend>> make_uring_backend(ReadQueue& queue);

}  // namespace moxie

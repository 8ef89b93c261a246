// What the parts of the Python module's native half share: errors as Python exceptions, computing without the
// interpreter's lock, and an engine that several objects keep alive.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine_impl.h"
#include "moxie/engine.h"

namespace moxie::python {

namespace py = pybind11;

// Becomes the class of moxie.errors that fits its code.
struct Failure {
  Error error;
  std::string model = {};  // the path that it is about, where it is known
};

template <typename T>
T taken(Result<T> result) {
  if (!result.ok()) throw Failure{std::move(result).error()};
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

// Runs `work` on another thread, so that this one can look for Ctrl-C; `cancel` makes work end soon. Called and
// returns with the interpreter's lock held.
template <typename Work, typename Cancel>
auto run_interruptible(const Work& work, const Cancel& cancel) {
  std::optional<decltype(work())> result;
  bool interrupted = false;
  {
    py::gil_scoped_release release;
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::thread worker([&] {
      result.emplace(work());
      const std::lock_guard lock(mutex);
      done = true;
      changed.notify_one();
    });
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, std::chrono::milliseconds(50), [&] { return done; })) {
      lock.unlock();
      if (!interrupted) {
        py::gil_scoped_acquire acquire;
        interrupted = PyErr_CheckSignals() != 0;
      }
      if (interrupted) cancel();
      lock.lock();
    }
    lock.unlock();
    worker.join();
  }
  if (interrupted) throw py::error_already_set();
  return std::move(*result);
}

// An engine and what it said.
struct SharedEngine {
  struct Said {
    Severity severity;
    std::string text;
  };
  std::unique_ptr<Engine> engine;
  std::mutex mutex;
  std::vector<Said> said;  // not yet handed out

  Engine::Impl& impl() { return EngineInternals::of(*engine); }
};

void bind_chat(py::module_& module);
void bind_weights(py::module_& module);

// The handle that Python holds.
class PyEngine {
 public:
  explicit PyEngine(const py::dict& options);
  SharedEngine& open() const {
    if (!shared_) throw Failure{{ErrorCode::invalid_argument, "the model is closed; open it again"}};
    return *shared_;
  }
  std::shared_ptr<SharedEngine> share() const {
    open();
    return shared_;
  }
  const Tokenizer& tokenizer() const {
    Engine::Impl& impl = open().impl();
    if (!impl.tokenizer) throw Failure{impl.tokenizer_error};
    return *impl.tokenizer;
  }
  void close() {
    py::gil_scoped_release release;
    shared_.reset();
  }
  bool closed() const { return !shared_; }

 private:
  std::shared_ptr<SharedEngine> shared_;
};

}  // namespace moxie::python

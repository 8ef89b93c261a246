// An engine whose reads a test looks at, spoils or holds up.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "engine/engine_impl.h"

namespace moxie::golden {

// Numbers at random, for several threads (splitmix64).
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t roll() {
    uint64_t mixed = state_.fetch_add(0x9E3779B97F4A7C15u);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
  }

 private:
  std::atomic<uint64_t> state_;
};

inline Result<std::unique_ptr<Engine>> open_with(const EngineOptions& options,
                                                 std::function<void(ReadOutcome&)> inject) {
  return Engine::Impl::open(options,
                            [inject = std::move(inject)](DiskReaderOptions& reader) { reader.inject = inject; });
}

}  // namespace moxie::golden

// Counts how many tokens each expert of each layer was computed for, and remembers the last token's. Written by the
// thread that computes, read by any.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

#include "model/forward.h"

namespace moxie {

class UseCounter final : public RoutingObserver {
 public:
  UseCounter(int64_t layers, int64_t experts)
      : experts_(experts), uses_(static_cast<size_t>(layers * experts)), last_(static_cast<size_t>(layers * experts)) {}

  void on_choice(const Choice& choice) override {
    const std::lock_guard lock(mutex_);
    const auto layer = static_cast<size_t>(choice.layer * experts_);
    first_layer_ = std::min(first_layer_, choice.layer);
    if (choice.layer == first_layer_) {
      tokens_ += static_cast<uint64_t>(choice.tokens);
      std::fill(last_.begin(), last_.end(), uint8_t{0});  // not every step has rows in the last layer
    }
    for (int64_t i = 0; i < choice.tokens * choice.used; ++i) ++uses_[layer + static_cast<size_t>(choice.ids[i])];
    std::fill_n(last_.begin() + static_cast<ptrdiff_t>(layer), experts_, uint8_t{0});
    const int32_t* last = choice.ids + (choice.tokens - 1) * choice.used;
    for (int64_t i = 0; i < choice.used; ++i) last_[layer + static_cast<size_t>(last[i])] = 1;
  }

  // (layers, experts), layer after layer.
  std::vector<uint64_t> uses() const {
    const std::lock_guard lock(mutex_);
    return uses_;
  }
  // 1 for what the last token used.
  std::vector<uint8_t> last() const {
    const std::lock_guard lock(mutex_);
    return last_;
  }
  // That the first mixture was computed for.
  uint64_t tokens() const {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }

 private:
  mutable std::mutex mutex_;
  int64_t experts_;
  int64_t first_layer_ = std::numeric_limits<int64_t>::max();
  uint64_t tokens_ = 0;
  std::vector<uint64_t> uses_;
  std::vector<uint8_t> last_;
};

}  // namespace moxie

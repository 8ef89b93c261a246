// Experts in memory. A lease makes the experts of one layer usable and keeps their bytes in place while it lives; its destructor gives
// them back. Calls of one store are serialised by the engine.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "moxie/error.h"

namespace moxie {

// One expert's projections. Nothing says that they lie together, have one type, or come from one file.
struct ExpertView {
  Matrix gate, up;   // (expert_ffn, hidden)
  Matrix down;       // (hidden, expert_ffn)

  uint64_t bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }
};

class ExpertStore;

class ExpertLease {
 public:
  ExpertLease(ExpertStore& store, int64_t layer, std::span<const int32_t> ids) : store_(&store), layer_(layer), ids_(ids) {}
  ExpertLease(ExpertLease&& other) noexcept
      : store_(std::exchange(other.store_, nullptr)), layer_(other.layer_), ids_(other.ids_) {}
  ExpertLease& operator=(ExpertLease&&) = delete;
  ~ExpertLease();

  // The i-th of the leased ids.
  const ExpertView& operator[](size_t i) const;
  size_t size() const { return ids_.size(); }

 private:
  ExpertStore* store_;
  int64_t layer_;
  std::span<const int32_t> ids_;
};

class ExpertStore {
 public:
  virtual ~ExpertStore() = default;
  // REQUIRES: ids are distinct, belong to the layer, and outlive the lease.
  virtual Result<ExpertLease> lease(int64_t layer, std::span<const int32_t> ids) = 0;

 private:
  friend class ExpertLease;
  virtual const ExpertView& view(int64_t layer, int32_t id) const = 0;
  virtual void release(int64_t layer, std::span<const int32_t> ids) = 0;
};

// Every expert lies in memory (mapped or read) for as long as the store lives.
class ResidentExperts final : public ExpertStore {
 public:
  // experts[layer][id]; empty for layers without a mixture.
  explicit ResidentExperts(std::vector<std::vector<ExpertView>> experts) : experts_(std::move(experts)) {}
  Result<ExpertLease> lease(int64_t layer, std::span<const int32_t> ids) override { return ExpertLease(*this, layer, ids); }

 private:
  const ExpertView& view(int64_t layer, int32_t id) const override {
    return experts_[static_cast<size_t>(layer)][static_cast<size_t>(id)];
  }
  void release(int64_t, std::span<const int32_t>) override {}

  std::vector<std::vector<ExpertView>> experts_;
};

inline ExpertLease::~ExpertLease() {
  if (store_ != nullptr) store_->release(layer_, ids_);
}
inline const ExpertView& ExpertLease::operator[](size_t i) const { return store_->view(layer_, ids_[i]); }

}  // namespace moxie

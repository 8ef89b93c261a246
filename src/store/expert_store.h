// Experts in memory. A lease makes the experts of one layer usable, as they arrive, and keeps their bytes in place
// until they are released. Whatever a store does (all resident, streamed under a budget), it changes when an expert can
// be computed, never the result.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "moxie/error.h"

namespace moxie {

// One expert's projections. Nothing says that they lie together, have one type, or come from one file.
struct ExpertView {
  Matrix gate, up;  // (expert_ffn, hidden)
  Matrix down;      // (hidden, expert_ffn)

  uint64_t bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }
};

// What a layer wants for a batch of tokens.
struct ExpertRequest {
  int64_t layer = 0;
  // Distinct ids: of one token in router order, of several ascending. The store puts them in the order in which they
  // are to be computed.
  std::span<int32_t> ids;
  // Empty for a decode step, of one sequence or of several, and for one row of a prompt. For a prompt: what its last
  // token chose, in router order, which tells what the next token may want.
  std::span<const int32_t> last_choice;
  const std::atomic<bool>* stop = nullptr;  // ends waiting early, with Error cancelled
};

class ExpertStore;

class ExpertLease {
 public:
  ExpertLease(ExpertStore& store, const ExpertRequest& request) : store_(&store), request_(request) {}
  ExpertLease(ExpertLease&& other) noexcept
      : store_(std::exchange(other.store_, nullptr)),
        request_(other.request_),
        serial_(other.serial_),
        started_(other.started_),
        released_(other.released_),
        computing_begin_(other.computing_begin_),
        computing_end_(other.computing_end_) {}
  ExpertLease& operator=(ExpertLease&&) = delete;
  ~ExpertLease();

  size_t size() const { return request_.ids.size(); }
  int32_t id(size_t i) const { return request_.ids[i]; }
  // Waits until the gate and up projections of expert `first` are in memory. Returns how many experts from it on have
  // theirs: at least 1. Errors: io, corrupt (what could not be read and why), cancelled.
  Result<size_t> wait(size_t first);
  // Waits for the down projections of [first, first + count).
  Result<void> wait_down(size_t first, size_t count);
  // Expert i, waited for and not released.
  const ExpertView& operator[](size_t i) const;
  // Gives the experts before `end` back.
  void release(size_t end);

 private:
  friend class StreamedExperts;
  ExpertStore* store_;
  ExpertRequest request_;
  uint64_t serial_ = 0;
  size_t started_ = 0;  // experts before it have a place in memory
  size_t released_ = 0;
  size_t computing_begin_ = 0, computing_end_ = 0;  // experts handed out whose down projections were not asked for yet
};

class ExpertStore {
 public:
  virtual ~ExpertStore() = default;
  // REQUIRES: ids are distinct, belong to the layer, and outlive the lease.
  virtual Result<ExpertLease> lease(const ExpertRequest& request) = 0;
  enum class Guess : uint8_t { decode, prompt };
  // Guesses what a later layer will want: experts that are missing are read while the disk has nothing better to do.
  // Returns how many are not in memory yet; 0 invites a look at the layer after it.
  virtual int64_t look_ahead(int64_t layer, std::span<const int32_t> ids, Guess kind) = 0;
  virtual bool wants_look_ahead(Guess kind) const = 0;
  enum class Presence : uint8_t { absent, reading, ready };
  // Where an expert is right now; thread-safe.
  virtual Presence presence(int64_t layer, int32_t id) const = 0;
  bool ready(int64_t layer, int32_t id) const { return presence(layer, id) == Presence::ready; }
  // What every lease of the expert hands out: it stays in its place, its bytes only while they are leased.
  const ExpertView& place(int64_t layer, int32_t id) const { return view(layer, id); }

 private:
  friend class ExpertLease;
  virtual Result<size_t> wait(ExpertLease& lease, size_t first) = 0;
  virtual Result<void> wait_down(ExpertLease& lease, size_t first, size_t count) = 0;
  virtual const ExpertView& view(int64_t layer, int32_t id) const = 0;
  virtual void release(ExpertLease& lease, size_t end) = 0;
};

// Every expert lies in memory (mapped or read) for as long as the store lives. Thread-safe.
class ResidentExperts final : public ExpertStore {
 public:
  // experts[layer][id]; empty for layers without a mixture.
  explicit ResidentExperts(std::vector<std::vector<ExpertView>> experts) : experts_(std::move(experts)) {}
  Result<ExpertLease> lease(const ExpertRequest& request) override { return ExpertLease(*this, request); }
  int64_t look_ahead(int64_t, std::span<const int32_t>, Guess) override { return 0; }
  bool wants_look_ahead(Guess) const override { return false; }
  Presence presence(int64_t, int32_t) const override { return Presence::ready; }

 private:
  Result<size_t> wait(ExpertLease& lease, size_t first) override { return lease.size() - first; }
  Result<void> wait_down(ExpertLease&, size_t, size_t) override { return {}; }
  const ExpertView& view(int64_t layer, int32_t id) const override {
    return experts_[static_cast<size_t>(layer)][static_cast<size_t>(id)];
  }
  void release(ExpertLease&, size_t) override {}

  std::vector<std::vector<ExpertView>> experts_;
};

inline ExpertLease::~ExpertLease() {
  if (store_ != nullptr) store_->release(*this, request_.ids.size());
}
inline Result<size_t> ExpertLease::wait(size_t first) {
  return store_->wait(*this, first);
}
inline Result<void> ExpertLease::wait_down(size_t first, size_t count) {
  return store_->wait_down(*this, first, count);
}
inline const ExpertView& ExpertLease::operator[](size_t i) const {
  return store_->view(request_.layer, request_.ids[i]);
}
inline void ExpertLease::release(size_t end) {
  store_->release(*this, end);
}

}  // namespace moxie

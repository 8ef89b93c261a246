// Which experts of each layer stay in memory: the pure decision, without bytes or slots. The engine's store and replay
// both use it, so both count the same. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "store/policy.h"

namespace moxie {

// decode: the experts of one token, in router order. prefill: the distinct experts of a batch of prompt tokens,
// ascending.
enum class EventKind : uint8_t { decode, prefill };

struct CacheCounts {
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t evictions = 0;
  uint64_t bypasses = 0;  // misses that were not kept

  CacheCounts& operator+=(const CacheCounts& other);
};

class CacheTable {
 public:
  // slots[layer]: experts that may stay, 0 to experts[layer]; 0: none, every access is a miss. experts[layer]: 0 where
  // a layer has no mixture. Time is counted per layer in events. Nothing is allocated after construction. REQUIRES: the
  // policy outlives the table.
  CacheTable(std::span<const int> experts, std::span<const int> slots, const PolicyEntry& policy);

  // One event. All ids are credited first (count and recency), then the misses are admitted in their order: into a free
  // place, else in place of the resident with the lowest score that is neither of this event nor pinned; where there is
  // none the expert is not kept. A prefill event credits each id once and evicts at most max(1, slots / 4) residents,
  // so that a prompt does not wipe what decoding has gathered. Returns, per id, 1 for a hit; valid until the next
  // event. REQUIRES: ids are distinct and below experts[layer].
  std::span<const uint8_t> event(int64_t layer, std::span<const int32_t> ids, EventKind kind);
  // Of the last event: what went (in the order of the misses that took its place), and what came and stays, in
  // admission order.
  std::span<const int32_t> evicted() const { return evicted_; }
  std::span<const int32_t> admitted() const { return admitted_; }

  bool resident(int64_t layer, int32_t id) const { return state(layer, id).resident; }
  int residents(int64_t layer) const { return layers_[static_cast<size_t>(layer)].residents; }
  int slots(int64_t layer) const { return layers_[static_cast<size_t>(layer)].slots; }
  int experts(int64_t layer) const { return layers_[static_cast<size_t>(layer)].experts; }
  int64_t layers() const { return static_cast<int64_t>(layers_.size()); }

  // A pinned expert never goes. It is taken in at once if a place is free, otherwise at its next miss. Returns whether
  // it is resident. Pins that leave fewer than top_k places are for the caller to refuse.
  bool pin(int64_t layer, int32_t id);
  // Warm start: what was known of an expert `age` events ago, and whether it is to be resident, if a place is free.
  // Returns whether it is resident. REQUIRES: count >= 0 and finite, age >= 0.
  bool restore(int64_t layer, int32_t id, double count, int64_t age, bool resident);
  // Its read failed: no longer resident, counts as they are.
  void forget(int64_t layer, int32_t id);

  // What is remembered; kept across evictions unless the policy forgets.
  const UseRecord& use(int64_t layer, int32_t id) const { return state(layer, id).use; }
  // Events so far; now - use.last_use is an expert's age.
  int64_t now(int64_t layer) const { return layers_[static_cast<size_t>(layer)].now; }
  const CacheCounts& counts(int64_t layer, EventKind kind) const {
    return layers_[static_cast<size_t>(layer)].counts[static_cast<size_t>(kind)];
  }
  CacheCounts total(EventKind kind) const;
  CacheCounts total() const;
  const PolicyEntry& policy() const { return *policy_; }

 private:
  struct ExpertState {
    UseRecord use;
    bool resident = false;
    bool pinned = false;
  };
  struct Layer {
    size_t first = 0;  // of its experts in states_
    int experts = 0;
    int slots = 0;
    int residents = 0;
    int64_t now = 0;
    CacheCounts counts[2];
  };
  struct Candidate {
    double score;
    int64_t last_use;
    int32_t id;
  };

  const ExpertState& state(int64_t layer, int32_t id) const;
  ExpertState& state(int64_t layer, int32_t id);
  void credit(Layer& layer, std::span<const int32_t> ids);
  bool take_in(Layer& layer, ExpertState& expert);
  void rank_candidates(const Layer& layer);
  int32_t evict_lowest(Layer& layer);
  static bool goes_before(const Candidate& a, const Candidate& b);

  const PolicyEntry* policy_;
  std::vector<Layer> layers_;
  std::vector<ExpertState> states_;
  std::vector<uint8_t> hits_;  // of the last event
  std::vector<int32_t> evicted_, admitted_;
  std::vector<Candidate> candidates_;  // who may go in this event; scores do not change within one
};

}  // namespace moxie

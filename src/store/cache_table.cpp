#include "store/cache_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.h"

namespace moxie {

CacheCounts& CacheCounts::operator+=(const CacheCounts& other) {
  hits += other.hits;
  misses += other.misses;
  evictions += other.evictions;
  bypasses += other.bypasses;
  return *this;
}

CacheTable::CacheTable(std::span<const int> experts, std::span<const int> slots, const PolicyEntry& policy)
    : policy_(&policy) {
  MOXIE_CHECK(experts.size() == slots.size());
  size_t total = 0;
  int widest = 0;
  layers_.resize(experts.size());
  for (size_t i = 0; i < experts.size(); ++i) {
    MOXIE_CHECK(slots[i] >= 0 && slots[i] <= experts[i]);
    layers_[i].first = total;
    layers_[i].experts = experts[i];
    layers_[i].slots = slots[i];
    total += static_cast<size_t>(experts[i]);
    widest = std::max(widest, experts[i]);
  }
  states_.resize(total);
  const auto width = static_cast<size_t>(widest);
  hits_.reserve(width);
  evicted_.reserve(width);
  admitted_.reserve(width);
  candidates_.reserve(width);
}

const CacheTable::ExpertState& CacheTable::state(int64_t layer, int32_t id) const {
  MOXIE_CHECK(layer >= 0 && layer < layers());
  const Layer& of = layers_[static_cast<size_t>(layer)];
  MOXIE_CHECK(id >= 0 && id < of.experts);
  return states_[of.first + static_cast<size_t>(id)];
}

CacheTable::ExpertState& CacheTable::state(int64_t layer, int32_t id) {
  return const_cast<ExpertState&>(std::as_const(*this).state(layer, id));
}

std::span<const uint8_t> CacheTable::event(int64_t layer, std::span<const int32_t> ids, EventKind kind) {
  MOXIE_CHECK(layer >= 0 && layer < layers());
  Layer& of = layers_[static_cast<size_t>(layer)];
  CacheCounts& counts = of.counts[static_cast<size_t>(kind)];
  evicted_.clear();
  admitted_.clear();
  credit(of, ids);

  size_t may_evict = 0;
  if (policy_->evicts)
    may_evict = static_cast<size_t>(kind == EventKind::prefill ? std::max(1, of.slots / 4) : of.slots);
  bool ranked = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (hits_[i]) continue;
    ExpertState& expert = states_[of.first + static_cast<size_t>(ids[i])];
    if (!take_in(of, expert)) {
      if (!ranked && may_evict > 0) rank_candidates(of);
      ranked = true;
      if (may_evict == evicted_.size() || candidates_.empty()) {
        ++counts.bypasses;
        continue;
      }
      evicted_.push_back(evict_lowest(of));
      take_in(of, expert);
    }
    admitted_.push_back(ids[i]);
  }
  const auto hits = static_cast<uint64_t>(std::count(hits_.begin(), hits_.end(), 1));
  counts.hits += hits;
  counts.misses += ids.size() - hits;
  counts.evictions += evicted_.size();
  return hits_;
}

void CacheTable::credit(Layer& layer, std::span<const int32_t> ids) {
  hits_.clear();
  candidates_.clear();
  ++layer.now;
  for (const int32_t id : ids) {
    MOXIE_CHECK(id >= 0 && id < layer.experts);
    ExpertState& expert = states_[layer.first + static_cast<size_t>(id)];
    UseRecord& use = expert.use;
    MOXIE_CHECK(use.last_use < layer.now);  // distinct
    hits_.push_back(expert.resident ? 1 : 0);
    if (policy_->half_life > 0) use.count *= decay(layer.now - use.last_use, policy_->half_life);
    use.count += 1;
    use.last_use = layer.now;
  }
}

bool CacheTable::take_in(Layer& layer, ExpertState& expert) {
  if (layer.residents >= layer.slots) return false;
  expert.resident = true;
  ++layer.residents;
  return true;
}

void CacheTable::rank_candidates(const Layer& layer) {
  for (int32_t id = 0; id < layer.experts; ++id) {
    const ExpertState& expert = states_[layer.first + static_cast<size_t>(id)];
    if (!expert.resident || expert.pinned || expert.use.last_use == layer.now) continue;
    candidates_.push_back({policy_->score(expert.use, layer.now), expert.use.last_use, id});
  }
}

bool CacheTable::goes_before(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score < b.score;
  if (a.last_use != b.last_use) return a.last_use < b.last_use;
  return a.id < b.id;
}

int32_t CacheTable::evict_lowest(Layer& layer) {
  const auto lowest = std::min_element(candidates_.begin(), candidates_.end(), goes_before);
  const int32_t id = lowest->id;
  *lowest = candidates_.back();
  candidates_.pop_back();
  ExpertState& expert = states_[layer.first + static_cast<size_t>(id)];
  expert.resident = false;
  --layer.residents;
  if (policy_->forgets) expert.use = {};
  return id;
}

bool CacheTable::pin(int64_t layer, int32_t id) {
  ExpertState& expert = state(layer, id);
  expert.pinned = true;
  return expert.resident || take_in(layers_[static_cast<size_t>(layer)], expert);
}

bool CacheTable::restore(int64_t layer, int32_t id, double count, int64_t age, bool resident) {
  MOXIE_CHECK(std::isfinite(count) && count >= 0 && age >= 0);
  ExpertState& expert = state(layer, id);
  Layer& of = layers_[static_cast<size_t>(layer)];
  expert.use.count = count;
  expert.use.last_use = count > 0 ? std::max(of.now - age, UseRecord::kNever) : UseRecord::kNever;
  return expert.resident || (resident && take_in(of, expert));
}

void CacheTable::forget(int64_t layer, int32_t id) {
  ExpertState& expert = state(layer, id);
  if (!expert.resident) return;
  expert.resident = false;
  --layers_[static_cast<size_t>(layer)].residents;
}

CacheCounts CacheTable::total(EventKind kind) const {
  CacheCounts sum;
  for (const Layer& layer : layers_) sum += layer.counts[static_cast<size_t>(kind)];
  return sum;
}

CacheCounts CacheTable::total() const {
  CacheCounts sum = total(EventKind::decode);
  sum += total(EventKind::prefill);
  return sum;
}

}  // namespace moxie

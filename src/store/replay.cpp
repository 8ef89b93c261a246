#include "store/replay.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/check.h"

namespace moxie {
namespace {

using EventIndex = uint64_t;
constexpr EventIndex kNotAgain = std::numeric_limits<EventIndex>::max();

// One layer's residents and when each is used next. Every use is foreseen, so a resident's next use is never in the
// past.
class ClairvoyantLayer {
 public:
  explicit ClairvoyantLayer(int slots) : slots_(static_cast<size_t>(slots)) {}

  bool holds(int32_t id) const {
    return std::any_of(kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.id == id; });
  }
  void use(int32_t id, EventIndex next) {
    std::erase_if(kept_, [&](const Kept& kept) { return kept.id == id; });
    if (next != kNotAgain) kept_.push_back({next, id});
  }
  void settle() {
    if (kept_.size() <= slots_) return;
    std::sort(kept_.begin(), kept_.end(),
              [](const Kept& a, const Kept& b) { return a.next != b.next ? a.next < b.next : a.id < b.id; });
    kept_.resize(slots_);
  }

 private:
  struct Kept {
    EventIndex next;
    int32_t id;
  };
  size_t slots_;
  std::vector<Kept> kept_;
};

// For each id of the trace the event that uses the same expert of the same layer next.
std::vector<EventIndex> next_uses(const RoutingTrace& trace, bool prompts) {
  std::vector<EventIndex> next(trace.all_ids.size(), kNotAgain);
  const auto experts = static_cast<size_t>(trace.shape.experts);
  std::vector<EventIndex> soonest(static_cast<size_t>(trace.shape.layers) * experts, kNotAgain);
  for (EventIndex i = trace.events.size(); i-- > 0;) {
    const TraceEvent& event = trace.events[i];
    if (!prompts && event.kind == EventKind::prefill) continue;
    const auto ids = trace.ids(event);
    for (size_t k = 0; k < ids.size(); ++k) {
      EventIndex& of = soonest[static_cast<size_t>(event.layer) * experts + static_cast<size_t>(ids[k])];
      next[event.first + k] = std::exchange(of, i);
    }
  }
  return next;
}

}  // namespace

std::vector<LayerCounts> replay(const RoutingTrace& trace, const PolicyEntry& policy, int slots, bool prompts) {
  const auto layers = static_cast<size_t>(trace.shape.layers);
  CacheTable table(std::vector<int>(layers, trace.shape.experts), std::vector<int>(layers, slots), policy);
  for (const TraceEvent& event : trace.events) {
    if (prompts || event.kind == EventKind::decode) table.event(event.layer, trace.ids(event), event.kind);
  }
  std::vector<LayerCounts> counts(layers);
  for (size_t i = 0; i < layers; ++i) {
    counts[i] = {table.counts(static_cast<int64_t>(i), EventKind::decode),
                 table.counts(static_cast<int64_t>(i), EventKind::prefill)};
  }
  return counts;
}

std::vector<LayerCounts> replay_belady(const RoutingTrace& trace, int slots, bool prompts) {
  MOXIE_CHECK(slots >= 0 && slots <= trace.shape.experts);
  const std::vector<EventIndex> next = next_uses(trace, prompts);
  std::vector<ClairvoyantLayer> layers(static_cast<size_t>(trace.shape.layers), ClairvoyantLayer(slots));
  std::vector<LayerCounts> counts(layers.size());
  for (const TraceEvent& event : trace.events) {
    if (!prompts && event.kind == EventKind::prefill) continue;
    const auto at = static_cast<size_t>(event.layer);
    CacheCounts& of = event.kind == EventKind::decode ? counts[at].decode : counts[at].prefill;
    const auto ids = trace.ids(event);
    for (const int32_t id : ids) ++(layers[at].holds(id) ? of.hits : of.misses);
    for (size_t k = 0; k < ids.size(); ++k) layers[at].use(ids[k], next[event.first + k]);
    layers[at].settle();
  }
  return counts;
}

}  // namespace moxie

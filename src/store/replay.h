// Recorded routing through a cache table, and through the clairvoyant choice that no policy can beat. Plain functions,
// thread-safe.
#pragma once

#include <vector>

#include "store/routing_trace.h"

namespace moxie {

// Per layer and kind of event. The clairvoyant choice reports hits and misses alone.
struct LayerCounts {
  CacheCounts decode, prefill;

  CacheCounts total() const {
    CacheCounts sum = decode;
    sum += prefill;
    return sum;
  }
};

// One result per layer of the trace; the cache starts empty. With `prompts` false the events of prompts are left out.
// REQUIRES: 0 <= slots <= experts of the trace.
std::vector<LayerCounts> replay(const RoutingTrace& trace, const PolicyEntry& policy, int slots, bool prompts = true);

// Belady's choice with bypass: after each event the layer keeps, of its residents and the event's experts, those whose
// next use is nearest, however many have to be exchanged for that. No causal policy has more hits.
std::vector<LayerCounts> replay_belady(const RoutingTrace& trace, int slots, bool prompts = true);

}  // namespace moxie

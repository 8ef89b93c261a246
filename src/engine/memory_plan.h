// What a memory budget means for speed, before anything but headers is read: experts kept, the share of their uses that
// will find them in memory, bytes from disk for a token, and the bound on tokens a second that follows. Plain data; the
// functions are thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/memory_ledger.h"
#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

// The share of expert uses that find their expert in memory where `kept` of a layer's experts stay there and `used` are
// wanted for a token. For 8 experts, 2 used: planning values, from published statistics of Mixtral's routing, between
// uniform routing (kept / experts) and what locality gives where text stays with its subject. For other shapes 1 - (1 -
// kept / experts)^a: more and smaller experts repeat more; a goes from 1.25 with 8 experts to 3 with 32 and more, the
// middle of what traces of such models show.
double expected_hit_rate(int kept, int experts, int used);

struct PlanRow {
  std::string name;     // "minimum", "4 of 8", "--memory 12G"
  bool chosen = false;  // what would run
  MemoryLedger ledger;
  int kept_min = 0, kept_max = 0;  // experts of a mixture that stay in memory
  double kept_mean = 0;
  double hit_rate = 1;          // share of expert uses
  double uniform_hit_rate = 1;  // the same if every expert were as likely as any other
  double disk_bytes_per_token = 0;

  // Reading overlaps computing perfectly, a token's weights pass through the processor once: no run is faster.
  double tokens_per_second_bound(double disk_bandwidth, double memory_bandwidth, uint64_t active_bytes) const;
};

struct PlanSettings {
  std::string arch;
  std::string memory;  // as parse_memory takes it; empty: what is free here, and no error where that is too little
  std::vector<int64_t>
      expert_slots;  // these rows and no others; the first is what is planned. Not together with `memory`
  int64_t ctx_size = -1;
  int64_t batch_size = 2048, ubatch_size = 512;
  std::string cache_type = "f16";
  bool mmap = true;
  int threads = 1;
  std::string trace;   // file of recorded routing that gives the hit rates; empty: expected ones
  std::string policy;  // that goes through the trace; empty: the default
};

struct MemoryPlan {
  int64_t context_tokens = 0;
  std::string budget;  // where it comes from, in words
  PlanRow chosen;      // what would run; meaningless where `refused` is set
  Error refused;       // message empty: it fits
  std::vector<PlanRow>
      ladder;             // ascending, from the minimum to everything resident; one of them is chosen, unless `refused`
  std::string hit_rates;  // where they come from, in words
};

// Errors: out_of_memory below the minimum (with the ledger in numbers), what parse_memory and plan_model refuse, a
// trace of another shape.
Result<MemoryPlan> plan_memory(const WeightFiles& files, const PlanSettings& settings, const MemoryInfo& machine);

}  // namespace moxie

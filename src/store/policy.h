// Eviction policies: which expert of a layer is given up first. A policy is one pure function over what its layer
// remembers of an expert, so that a recorded trace replays every decision. Entries are constants; thread-safe.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace moxie {

// What a layer remembers of one expert, resident or not. Time is counted in events of the layer (cache_table.h).
struct UseRecord {
  static constexpr int64_t kNever = -(int64_t{1} << 40);

  double count = 0;           // uses, decayed by the policy's half-life up to last_use
  int64_t last_use = kNever;  // event of the last use; may be negative when it comes from an earlier run
};

struct PolicyEntry {
  std::string_view name;  // as --policy spells it: "lfru"
  std::string_view summary;
  bool evicts = true;    // false: who is in stays in
  bool forgets = false;  // the count of an evicted expert starts anew; otherwise counts outlive residency
  double half_life = 0;  // events after which a use counts half; 0: for ever
  // Among the residents that may go, the one with the lowest score goes. `use.count` is as of use.last_use; now >
  // use.last_use. Equal scores: the older last use goes, then the lower id.
  double (*score)(const UseRecord& use, int64_t now) = nullptr;
};

// The share of a count that is left after `age` events.
inline double decay(int64_t age, double half_life) {
  return std::exp2(-static_cast<double>(age) / half_life);
}

// In the order shown in help.
std::span<const PolicyEntry* const> policy_entries();
// Dashes count as underscores. Null: no such policy.
const PolicyEntry* find_policy(std::string_view name);
const PolicyEntry& default_policy();
// "lfru, lru, ...", for messages.
std::string policy_names();

}  // namespace moxie

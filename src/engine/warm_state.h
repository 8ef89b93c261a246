// The hot set between runs: which experts a model used, how often, and which were in memory, in one small file per
// model. A file that is absent, broken or another model's costs a start from nothing, never a wrong answer. Belongs to
// the engine's step.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model_identity.h"
#include "moxie/error.h"
#include "store/policy.h"
#include "store/streamed_experts.h"

namespace moxie {

// The text of a state file.
std::string warm_state_text(const ModelIdentity& model, const PolicyEntry& policy, std::span<const KnownExpert> known);
// Errors: corrupt for what is no state or holds numbers that none can have, invalid_argument for another model's
// (named).
Result<std::vector<KnownExpert>> parse_warm_state(std::string_view text, std::string_view what,
                                                  const ModelIdentity& model);

// In each layer those who were in memory first, then by the policy's score, all of them marked to be in memory: as many
// stay as there is room for, whatever the budget was. Counts that a slower forgetting policy gathered are scaled into
// what this one can reach.
std::vector<KnownExpert> best_first(std::vector<KnownExpert> known, const PolicyEntry& policy);
// The count of an expert that every event uses; infinite for a policy that never forgets.
double highest_count(const PolicyEntry& policy);

class WarmStart {
 public:
  using Clock = std::chrono::steady_clock;
  struct Pace {
    Clock::duration pause = std::chrono::minutes(3);  // between two saves
    Clock::time_point (*now)() = Clock::now;
  };
  // Nothing is read or written before the calls below. Tests give a pace of their own.
  WarmStart(const std::string& cache_folder, ModelIdentity model, const PolicyEntry& policy, Pace pace);

  const std::string& path() const { return path_; }
  // Empty when nothing was saved. Errors: as parse_warm_state, io.
  Result<std::vector<KnownExpert>> read() const;
  // After each step: true after every pause, then save.
  bool is_due();
  // There are steps that no save knows of.
  bool is_stale() const { return stale_; }
  // Errors: io.
  Result<void> save(std::span<const KnownExpert> known);

 private:
  ModelIdentity model_;
  const PolicyEntry* policy_;
  std::string path_;
  Pace pace_;
  bool stale_ = false;
  Clock::time_point saved_;
};

}  // namespace moxie

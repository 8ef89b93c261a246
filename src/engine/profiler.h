// Makes an expert profile: a text goes through a model, and its routers' choices are counted. One at a time per engine;
// sequences of the same engine may be used meanwhile, they wait for each other's steps.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "engine/expert_profile.h"
#include "moxie/engine.h"

namespace moxie {

struct ProfileOptions {
  int64_t chunk_tokens =
      512;  // each chunk is computed on its own; the start-of-text token, where there is one, is part of it
  // Attention, routers and shared experts alone; the chosen experts are neither read nor computed, as if they added
  // nothing.
  bool router_only = false;
  bool check = true;                        // with router_only: compute the true routing too, and compare
  const std::atomic<bool>* stop = nullptr;  // becoming true ends it, with Error cancelled
};

// How well the routing without experts foretells the true one, by layer.
struct RouterOnlyCheck {
  std::vector<int64_t> choices;     // what tokens chose
  std::vector<int64_t> found;       // of these, what they chose without experts too
  std::vector<int> top, top_found;  // of the more used half of the experts, how many are in the other half-list too

  double recall() const;
  double top_recall() const;
};

struct ProfileResult {
  ExpertProfile profile;
  int64_t chunks = 0;
  std::optional<RouterOnlyCheck> check;
};

class Profiler {
 public:
  // ids: without a start-of-text token. on_chunk gets chunks done and in all. Errors: a model without experts, no text,
  // a chunk that does not fit into the context; what computing fails with.
  static Result<ProfileResult> run(Engine& engine, std::span<const int32_t> ids, const ProfileOptions& options,
                                   const std::function<void(int64_t done, int64_t total)>& on_chunk = {});

 private:
  struct Pass;
};

}  // namespace moxie

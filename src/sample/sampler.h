// Logits to token: candidates pass through a chain of samplers. One chain per sequence; not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"
#include "moxie/options.h"

namespace moxie {

struct Candidate {
  int32_t id;
  float logit;        // never NaN or +infinity; -infinity: banned
  float probability;  // valid when Candidates::normalised
};

struct Candidates {
  std::vector<Candidate> items;
  bool sorted = false;      // by logit, descending; equal logits by ascending id
  bool normalised = false;  // probabilities are the softmax of the logits

  void sort();
  void sort_first(size_t count);  // the `count` best to the front, in order; the rest in any order
  void normalise();               // probabilities, order unchanged
  void softmax();                 // sorts and normalises
  size_t best() const;            // index of the highest logit, lowest id among equals. REQUIRES: not empty

  void logits_changed() { sorted = normalised = false; }
  // Keeps the items for which keep(candidate) is true, in order. REQUIRES: it is true for one at least.
  template <typename Keep>
  void filter(const Keep& keep) {
    std::erase_if(items, [&](const Candidate& candidate) { return !keep(candidate); });
    normalised = false;
  }
  void truncate(size_t count) {
    if (count >= items.size()) return;
    items.resize(count);
    normalised = false;
  }
};

// What samplers may know beside the logits.
struct SamplerContext {
  const SamplingOptions* options;
  std::span<const int32_t> history;  // prompt and generated ids so far, oldest first
  int64_t context_tokens;            // for "-1: the context"
  std::mt19937* random;
};

// The next number in [0, 1), the same on every platform for the same generator state.
double draw_uniform(std::mt19937& random);
// The last `count` ids of the history; -1: as many as the context holds.
std::span<const int32_t> recent_ids(const SamplerContext& context, int count);

class Sampler {
 public:
  virtual ~Sampler() = default;
  // Changes logits or removes candidates; never removes all.
  virtual void apply(Candidates& candidates, const SamplerContext& context) = 0;
  // The candidate that was drawn from what apply() left.
  virtual void drawn(const Candidate& /*candidate*/) {}
  virtual void reset() {}
};

namespace grammar {
class GrammarCache;
}

// What a tokenizer must tell samplers that work on text (DRY's sequence breakers, grammars).
struct SamplerVocabulary {
  int32_t size = 0;
  grammar::GrammarCache* grammars = nullptr;  // null: there is no text to constrain
  std::function<std::string(int32_t)> bytes;
  std::function<std::vector<int32_t>(std::string_view)> encode;
};

struct SamplerEntry {
  std::string_view name;   // as --samplers spells it: "top_k"
  std::string_view alias;  // another spelling in use; empty: none
  char letter;             // as --sampling-seq spells it: 'k'; 0: not for lists, its own option puts it in place
  std::string_view summary;
  // Null when the options say that it would do nothing.
  std::unique_ptr<Sampler> (*create)(const SamplingOptions&, const SamplerVocabulary&);
};

std::span<const SamplerEntry* const> sampler_entries();
// By name or alias; dashes count as underscores. Null: no such sampler.
const SamplerEntry* find_sampler(std::string_view name);
// "kfypmxt" to names, for --sampling-seq. Error: a letter that is no sampler.
Result<std::vector<std::string>> samplers_from_letters(std::string_view letters);

}  // namespace moxie

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
  float logit;
  float probability;  // valid when Candidates::normalised
};

struct Candidates {
  std::vector<Candidate> items;
  bool sorted = false;      // by logit, descending; equal logits by ascending id
  bool normalised = false;  // probabilities are the softmax of the logits

  void sort();
  void softmax();           // sorts and normalises
};

// What samplers may know beside the logits.
struct SamplerContext {
  const SamplingOptions* options;
  std::span<const int32_t> history;  // prompt and generated ids so far, oldest first
  int64_t context_tokens;            // for "-1: the context"
  std::mt19937* random;
};

class Sampler {
 public:
  virtual ~Sampler() = default;
  // Changes logits or removes candidates; never removes all.
  virtual void apply(Candidates& candidates, const SamplerContext& context) = 0;
  virtual void accept(int32_t /*id*/) {}
  virtual void reset() {}
};

// What a tokenizer must tell samplers that work on text (DRY's sequence breakers).
struct SamplerVocabulary {
  int32_t size = 0;
  std::function<std::string(int32_t)> bytes;
  std::function<std::vector<int32_t>(std::string_view)> encode;
};

struct SamplerEntry {
  std::string_view name;     // as --samplers spells it: "top_k"
  char letter;               // as --sampling-seq spells it: 'k'
  std::string_view summary;
  std::unique_ptr<Sampler> (*create)(const SamplingOptions&, const SamplerVocabulary&);
};

std::span<const SamplerEntry* const> sampler_entries();

}  // namespace moxie

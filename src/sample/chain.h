// The sampler chain in llama.cpp's order, with its names and defaults. One per sequence; not thread-safe.
//
// Order: logit bias, then the samplers of options.samplers, then the draw. With top_nsigma >= 0 the list is top_k,
// temperature, top_n_sigma; with mirostat it is temperature, mirostat. temp <= 0 takes the best candidate that is left.
#pragma once

#include <memory>
#include <random>
#include <span>
#include <vector>

#include "sample/sampler.h"

namespace moxie {

// What can be checked without a vocabulary: names of samplers and ranges of values. Errors name the option, the value
// and the limit.
Result<void> check_sampling_options(const SamplingOptions& options);

class SamplerChain {
 public:
  // Errors: a name that is no sampler, a value out of range (names the option, the value and the limit).
  static Result<SamplerChain> create(const SamplingOptions& options, const SamplerVocabulary& vocabulary,
                                     int64_t context_tokens, std::vector<int32_t> end_ids);

  // Draws the next id. logits: (vocabulary), unchanged. Ties go to the lowest id.
  int32_t sample(std::span<const float> logits);
  // Tells the chain of an id that was taken (also prompt ids, in order).
  void accept(int32_t id);
  void reset();
  uint64_t seed() const { return seed_; }  // the one in use, also when drawn at random
  // The candidates that the last sample() drew from.
  const Candidates& last() const { return candidates_; }

 private:
  SamplerChain() = default;
  void load(std::span<const float> logits);
  size_t choose();

  SamplingOptions options_;
  std::vector<std::unique_ptr<Sampler>> samplers_;
  std::vector<int32_t> history_;
  int64_t context_tokens_ = 0;
  Candidates candidates_;
  std::mt19937 random_;
  uint64_t seed_ = 0;
};

}  // namespace moxie

// The sampler chain in llama.cpp's order, with its names and defaults. One per sequence; not thread-safe.
//
// Order: the grammar (tokens that it does not allow are no candidates), logit bias, then the samplers of
// options.samplers, then the draw. With top_nsigma >= 0 the list is top_k, temperature, top_n_sigma; with mirostat it
// is temperature, mirostat. temp <= 0 takes the best candidate that is left.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "grammar/token_grammar.h"
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

  static constexpr int32_t kNoToken = -1;

  // Draws the next id. logits: (vocabulary), unchanged. Ties go to the lowest id. kNoToken only under a grammar:
  // nothing may follow, and there is no end to draw; why_none() says whether that is the end of the text.
  int32_t sample(std::span<const float> logits);
  // REQUIRES: sample() gave kNoToken. An error where the text is not complete, but no token goes on.
  Result<void> why_none() const;
  // Tells the chain of an id that was generated. REQUIRES: under a grammar, one that it allows.
  void accept(int32_t id);
  // Tells the chain of an id of the prompt, which no grammar looks at.
  void remember(int32_t id);
  // Null: no grammar. What speculates asks it, and rolls it back.
  grammar::GrammarMatcher* grammar() { return grammar_ ? &*grammar_ : nullptr; }
  void reset();
  uint64_t seed() const { return seed_; }  // the one in use, also when drawn at random
  // The candidates that the last sample() drew from.
  const Candidates& last() const { return candidates_; }

 private:
  SamplerChain() = default;
  void load(std::span<const float> logits);
  void load_allowed(std::span<const float> logits);
  size_t choose();

  SamplingOptions options_;
  std::vector<std::unique_ptr<Sampler>> samplers_;
  std::optional<grammar::GrammarMatcher> grammar_;
  std::vector<int32_t> end_ids_;  // that may be drawn
  std::vector<int32_t> history_;
  int64_t context_tokens_ = 0;
  Candidates candidates_;
  std::mt19937 random_;
  uint64_t seed_ = 0;
};

}  // namespace moxie

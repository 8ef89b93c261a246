// Keeps the tokens whose logits lie within n standard deviations of the best one.
#include <cmath>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

class TopNSigma final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    const float best = candidates.items[candidates.best()].logit;
    double sum = 0, squares = 0;
    size_t count = 0;
    for (const Candidate& item : candidates.items) {
      if (std::isinf(item.logit)) continue;  // banned tokens are no part of the spread
      sum += item.logit;
      ++count;
    }
    if (count == 0) return;
    const double mean = sum / static_cast<double>(count);
    for (const Candidate& item : candidates.items) {
      if (!std::isinf(item.logit)) squares += (item.logit - mean) * (item.logit - mean);
    }
    const double sigma = std::sqrt(squares / static_cast<double>(count));
    const double limit = best - context.options->top_nsigma * sigma;
    candidates.filter([&](const Candidate& item) { return item.logit >= limit; });
  }
};

}  // namespace

extern const SamplerEntry top_n_sigma = {
    .name = "top_n_sigma",
    .alias = "top_nsigma",
    .letter = 's',
    .summary = "keeps tokens within --top-nsigma standard deviations of the best logit",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      if (options.top_nsigma < 0.0f) return nullptr;
      return std::make_unique<TopNSigma>();
    },
};

}  // namespace moxie::samplers

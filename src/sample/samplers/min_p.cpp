// Keeps the tokens at least min_p times as likely as the best one.
#include <algorithm>
#include <cmath>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

class MinP final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    const float limit = candidates.items[candidates.best()].logit + std::log(context.options->min_p);
    const size_t at_least = static_cast<size_t>(std::max(context.options->min_keep, 1));
    const auto stays = [&](const Candidate& candidate) { return candidate.logit >= limit; };
    const auto kept = std::count_if(candidates.items.begin(), candidates.items.end(), stays);
    if (static_cast<size_t>(kept) >= at_least) {
      candidates.filter(stays);
      return;
    }
    candidates.sort_first(at_least);
    candidates.truncate(at_least);
    candidates.sorted = true;
  }
};

}  // namespace

extern const SamplerEntry min_p = {
    .name = "min_p",
    .letter = 'm',
    .summary = "keeps tokens at least --min-p times as likely as the best one",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      if (options.min_p <= 0.0f) return nullptr;
      return std::make_unique<MinP>();
    },
};

}  // namespace moxie::samplers

// Exclude top choices: now and then removes all but the least likely of the tokens that are likely enough.
#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

class Xtc final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    const SamplingOptions& options = *context.options;
    if (candidates.items.size() < 2) return;
    if (draw_uniform(*context.random) >= options.xtc_probability) return;
    candidates.normalise();
    size_t likely = 0;
    const Candidate* last = nullptr;  // the least likely of the likely ones; the highest id among equals
    for (const Candidate& item : candidates.items) {
      if (item.probability < options.xtc_threshold) continue;
      ++likely;
      if (!last || item.logit < last->logit || (item.logit == last->logit && item.id > last->id)) last = &item;
    }
    if (likely < 2) return;
    const size_t left = candidates.items.size() - likely + 1;
    if (left < static_cast<size_t>(options.min_keep)) return;
    const int32_t kept = last->id;
    candidates.filter(
        [&](const Candidate& item) { return item.probability < options.xtc_threshold || item.id == kept; });
  }
};

}  // namespace

extern const SamplerEntry xtc = {
    .name = "xtc",
    .letter = 'x',
    .summary = "with --xtc-probability removes all but the least likely token above --xtc-threshold",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      // Above one half there are never two tokens to choose from.
      if (options.xtc_probability <= 0.0f || options.xtc_threshold > 0.5f) return nullptr;
      return std::make_unique<Xtc>();
    },
};

}  // namespace moxie::samplers

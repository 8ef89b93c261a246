// Keeps the k most likely tokens.
#include <algorithm>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

class TopK final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    const size_t count = static_cast<size_t>(std::max({context.options->top_k, context.options->min_keep, 1}));
    candidates.sort_first(count);
    candidates.truncate(count);
    candidates.sorted = true;
  }
};

}  // namespace

extern const SamplerEntry top_k = {
    .name = "top_k",
    .letter = 'k',
    .summary = "keeps the --top-k most likely tokens",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      if (options.top_k <= 0) return nullptr;
      return std::make_unique<TopK>();
    },
};

}  // namespace moxie::samplers

// Nucleus sampling: keeps the shortest list of best tokens whose probabilities reach top_p together.
#include <algorithm>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

class TopP final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    const size_t at_least = static_cast<size_t>(std::max(context.options->min_keep, 1));
    candidates.normalise();
    // Few tokens hold most of the probability: sort a growing head, not a whole vocabulary.
    for (size_t head = 256;; head *= 8) {
      head = std::min(head, candidates.items.size());
      candidates.sort_first(head);
      double sum = 0;
      for (size_t i = 0; i < head; ++i) {
        sum += candidates.items[i].probability;
        if (sum >= context.options->top_p && i + 1 >= at_least) {
          candidates.truncate(i + 1);
          candidates.sorted = true;
          return;
        }
      }
      if (head == candidates.items.size()) return;
    }
  }
};

}  // namespace

extern const SamplerEntry top_p = {
    .name = "top_p",
    .alias = "nucleus",
    .letter = 'p',
    .summary = "keeps the best tokens whose probabilities reach --top-p together",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      if (options.top_p >= 1.0f) return nullptr;
      return std::make_unique<TopP>();
    },
};

}  // namespace moxie::samplers

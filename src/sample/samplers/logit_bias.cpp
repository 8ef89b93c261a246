// Adds a number to the logits of chosen ids; -infinity bans one. Comes before everything else.
#include <cmath>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

class LogitBias final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    for (const auto& [id, bias] : context.options->logit_bias) {
      // At the head of the chain candidates stand in order of their ids.
      const size_t index = static_cast<size_t>(id);
      if (index < candidates.items.size() && candidates.items[index].id == id) {
        candidates.items[index].logit += bias;
        continue;
      }
      for (Candidate& candidate : candidates.items) {
        if (candidate.id == id) candidate.logit += bias;
      }
    }
    candidates.logits_changed();
  }
};

}  // namespace

extern const SamplerEntry logit_bias = {
    .name = "logit_bias",
    .letter = 0,
    .summary = "adds --logit-bias and bans end tokens under --ignore-eos",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      if (options.logit_bias.empty()) return nullptr;
      return std::make_unique<LogitBias>();
    },
};

}  // namespace moxie::samplers

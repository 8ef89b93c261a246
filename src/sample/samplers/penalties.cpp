// Repeat, frequency and presence penalties over the last repeat_last_n ids, the prompt's included.
#include <algorithm>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

class Penalties final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    const auto recent = recent_ids(context, context.options->repeat_last_n);
    if (recent.empty()) return;
    ids_.assign(recent.begin(), recent.end());
    std::sort(ids_.begin(), ids_.end());
    const bool in_order = candidates.items.size() > static_cast<size_t>(ids_.back()) &&
                          candidates.items[static_cast<size_t>(ids_.back())].id == ids_.back();
    if (in_order && ids_are_indices(candidates)) {
      for (auto run = ids_.begin(); run != ids_.end();) {
        const auto end = std::upper_bound(run, ids_.end(), *run);
        penalise(candidates.items[static_cast<size_t>(*run)], end - run, *context.options);
        run = end;
      }
    } else {
      for (Candidate& candidate : candidates.items) {
        const auto [begin, end] = std::equal_range(ids_.begin(), ids_.end(), candidate.id);
        if (begin != end) penalise(candidate, end - begin, *context.options);
      }
    }
    candidates.logits_changed();
  }

 private:
  bool ids_are_indices(const Candidates& candidates) const {
    return std::all_of(ids_.begin(), ids_.end(), [&](int32_t id) {
      return static_cast<size_t>(id) < candidates.items.size() && candidates.items[static_cast<size_t>(id)].id == id;
    });
  }

  static void penalise(Candidate& candidate, std::ptrdiff_t count, const SamplingOptions& options) {
    // A division alone would make a negative logit more likely.
    if (candidate.logit <= 0) {
      candidate.logit *= options.repeat_penalty;
    } else {
      candidate.logit /= options.repeat_penalty;
    }
    candidate.logit -= static_cast<float>(count) * options.frequency_penalty + options.presence_penalty;
  }

  std::vector<int32_t> ids_;  // kept between calls for its memory
};

}  // namespace

extern const SamplerEntry penalties = {
    .name = "penalties",
    .letter = 'e',
    .summary = "makes recent tokens less likely (--repeat-penalty, --frequency-penalty, --presence-penalty)",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      const bool neutral =
          options.repeat_penalty == 1.0f && options.frequency_penalty == 0.0f && options.presence_penalty == 0.0f;
      if (neutral || options.repeat_last_n == 0) return nullptr;
      return std::make_unique<Penalties>();
    },
};

}  // namespace moxie::samplers

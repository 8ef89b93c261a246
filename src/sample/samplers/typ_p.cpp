// Locally typical sampling (Meister et al. 2022): keeps the tokens whose surprise is nearest to the expected one.
#include <algorithm>
#include <cmath>
#include <limits>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

class TypP final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    candidates.softmax();
    double entropy = 0;
    for (const Candidate& item : candidates.items) {
      if (item.probability > 0) entropy -= item.probability * std::log(static_cast<double>(item.probability));
    }
    order_.clear();
    for (size_t i = 0; i < candidates.items.size(); ++i) {
      const double probability = candidates.items[i].probability;
      const double distance =
          probability > 0 ? std::fabs(-std::log(probability) - entropy) : std::numeric_limits<double>::infinity();
      order_.push_back({distance, i});
    }
    std::sort(order_.begin(), order_.end(), [](const Place& a, const Place& b) {
      return a.distance != b.distance ? a.distance < b.distance : a.index < b.index;
    });

    const size_t at_least = static_cast<size_t>(std::max(context.options->min_keep, 1));
    double sum = 0;
    size_t kept = 0;
    while (kept < order_.size() && !(sum > context.options->typical && kept >= at_least)) {
      sum += candidates.items[order_[kept++].index].probability;
    }
    order_.resize(kept);
    // Back into descending order of logits, where the softmax has put them.
    std::sort(order_.begin(), order_.end(), [](const Place& a, const Place& b) { return a.index < b.index; });
    for (size_t i = 0; i < kept; ++i) candidates.items[i] = candidates.items[order_[i].index];
    candidates.truncate(kept);
  }

 private:
  struct Place {
    double distance;
    size_t index;
  };
  std::vector<Place> order_;
};

}  // namespace

extern const SamplerEntry typ_p = {
    .name = "typ_p",
    .alias = "typical",
    .letter = 'y',
    .summary = "keeps tokens of typical surprise up to the probability --typical",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      if (options.typical >= 1.0f) return nullptr;
      return std::make_unique<TypP>();
    },
};

}  // namespace moxie::samplers

// Divides the logits by a temperature, which with dynatemp_range follows the entropy. At 0 or below the best token
// alone stays.
#include <algorithm>
#include <cmath>
#include <limits>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

void keep_best(Candidates& candidates) {
  candidates.items = {candidates.items[candidates.best()]};
  candidates.sorted = true;
  candidates.normalised = false;
}

class Temperature final : public Sampler {
 public:
  void apply(Candidates& candidates, const SamplerContext& context) override {
    const float temp = context.options->dynatemp_range > 0 && context.options->temp > 0
                           ? dynamic(candidates, *context.options)
                           : context.options->temp;
    if (temp <= 0) return keep_best(candidates);
    // A temperature near zero can push a finite logit past the largest float; it must not become +infinity.
    const float limit = std::numeric_limits<float>::max();
    for (Candidate& item : candidates.items) item.logit = std::min(item.logit / temp, limit);
    candidates.normalised = false;
  }

 private:
  static float dynamic(Candidates& candidates, const SamplingOptions& options) {
    const float low = std::max(0.0f, options.temp - options.dynatemp_range);
    const float high = options.temp + options.dynatemp_range;
    if (candidates.items.size() < 2) return high;  // nothing to choose
    candidates.normalise();
    double entropy = 0;
    for (const Candidate& item : candidates.items) {
      if (item.probability > 0) entropy -= item.probability * std::log(static_cast<double>(item.probability));
    }
    const double relative = std::clamp(entropy / std::log(static_cast<double>(candidates.items.size())), 0.0, 1.0);
    return low + (high - low) * static_cast<float>(std::pow(relative, static_cast<double>(options.dynatemp_exponent)));
  }
};

}  // namespace

extern const SamplerEntry temperature = {
    .name = "temperature",
    .alias = "temp",
    .letter = 't',
    .summary = "divides logits by --temp, or by a temperature within --dynatemp-range of it",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      if (options.temp == 1.0f && options.dynatemp_range <= 0.0f) return nullptr;
      return std::make_unique<Temperature>();
    },
};

}  // namespace moxie::samplers

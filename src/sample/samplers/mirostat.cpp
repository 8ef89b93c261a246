// Mirostat (Basu et al. 2021): steers the surprise of the text towards --mirostat-ent. v1 estimates how the
// probabilities fall off and cuts to the matching k; v2 drops what would surprise more than mu.
#include <algorithm>
#include <cmath>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

constexpr size_t kEstimateTokens = 100;  // the paper's m

// Both versions learn from what was drawn.
class Mirostat : public Sampler {
 public:
  explicit Mirostat(const SamplingOptions& options)
      : target_(options.mirostat_ent), rate_(options.mirostat_lr), mu_(2.0 * options.mirostat_ent) {}

  void drawn(const Candidate& candidate) override {
    const double surprise = -std::log2(std::max(static_cast<double>(candidate.probability), 1e-30));
    mu_ -= rate_ * (surprise - target_);
  }
  void reset() override { mu_ = 2.0 * target_; }

 protected:
  double target_, rate_, mu_;
};

class MirostatV1 final : public Mirostat {
 public:
  MirostatV1(const SamplingOptions& options, int32_t vocabulary) : Mirostat(options), vocabulary_(vocabulary) {}

  void apply(Candidates& candidates, const SamplerContext&) override {
    candidates.normalise();
    const size_t head = std::min(kEstimateTokens, candidates.items.size());
    candidates.sort_first(head);
    // Least squares for Zipf's exponent over the best tokens: log(p_i / p_i+1) = s log((i + 2) / (i + 1)).
    double products = 0, squares = 0;
    for (size_t i = 0; i + 1 < head && candidates.items[i + 1].probability > 0; ++i) {
      const double step = std::log(static_cast<double>(i + 2) / static_cast<double>(i + 1));
      products +=
          step * std::log(static_cast<double>(candidates.items[i].probability) / candidates.items[i + 1].probability);
      squares += step * step;
    }
    if (squares > 0) {
      const double exponent = products / squares;
      const double excess = exponent - 1;
      const double k =
          std::pow(excess * std::exp2(mu_) / (1 - std::pow(static_cast<double>(vocabulary_), -excess)), 1 / exponent);
      // Not a number, or beyond the vocabulary, where the estimate breaks down: everything stays.
      const size_t count = k < static_cast<double>(candidates.items.size()) ? static_cast<size_t>(std::max(k, 1.0))
                                                                            : candidates.items.size();
      candidates.sort_first(count);
      candidates.truncate(count);
      candidates.sorted = true;
    }
    candidates.normalise();
  }

 private:
  int32_t vocabulary_;
};

class MirostatV2 final : public Mirostat {
 public:
  using Mirostat::Mirostat;

  void apply(Candidates& candidates, const SamplerContext&) override {
    candidates.normalise();
    const int32_t best = candidates.items[candidates.best()].id;
    const double limit = mu_;
    candidates.filter([&](const Candidate& item) {
      return item.id == best || (item.probability > 0 && -std::log2(static_cast<double>(item.probability)) <= limit);
    });
    candidates.normalise();
  }
};

}  // namespace

extern const SamplerEntry mirostat = {
    .name = "mirostat",
    .letter = 0,
    .summary = "--mirostat 1: keeps the k that gives the surprise --mirostat-ent",
    .create = [](const SamplingOptions& options, const SamplerVocabulary& vocabulary) -> std::unique_ptr<Sampler> {
      if (options.mirostat != 1) return nullptr;
      return std::make_unique<MirostatV1>(options, vocabulary.size);
    },
};

extern const SamplerEntry mirostat_v2 = {
    .name = "mirostat_v2",
    .letter = 0,
    .summary = "--mirostat 2: drops tokens more surprising than a bound that follows --mirostat-ent",
    .create = [](const SamplingOptions& options, const SamplerVocabulary&) -> std::unique_ptr<Sampler> {
      if (options.mirostat != 2) return nullptr;
      return std::make_unique<MirostatV2>(options);
    },
};

}  // namespace moxie::samplers

// Opt-in departures from the router's choice, which save reads at a price in quality. They change single-token steps
// alone: a prompt reads each expert once anyway. What they do hangs on which experts are in memory at that moment, so
// two runs may differ. Belongs to the thread that computes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/hyperparameters.h"
#include "moxie/error.h"
#include "moxie/options.h"
#include "store/expert_store.h"

namespace moxie {

enum class LossyMode : uint8_t { cache_prior, top1_threshold, skip_missing };  // in the order in which they act
inline constexpr size_t kLossyModes = 3;

// Choices that were changed, and the share of a token's expert weight that was on them, summed over layers and tokens.
struct LossyCounts {
  uint64_t changed = 0;
  double weight = 0;
};

class LossyRouting {
 public:
  // Null when the options ask for nothing. Errors: invalid_argument for values outside 0 to 1.
  static Result<std::unique_ptr<LossyRouting>> create(const EngineOptions& options);

  // What the modes are, as options spell them: "cache-prior=0.5,top1-threshold=0.1".
  std::string name() const;
  static std::string_view mode_name(LossyMode mode);
  bool enabled(LossyMode mode) const;

  // Changes one token's choice (heaviest first; probabilities over all experts) and returns how many experts of it are
  // left, at least one; the weights left have the sum of those chosen. A choice that is not changed keeps its bits.
  int64_t apply(const ExpertStore& experts, int64_t layer, std::span<const float> probabilities,
                const RouterOptions& router, int32_t* ids, float* weights);
  // Of the last apply: chosen experts that were left out because they were not in memory.
  std::span<const int32_t> skipped() const { return skipped_; }

  uint64_t choices() const { return choices_; }  // the router's, in all steps so far
  double weight() const { return weight_; }      // 1 for each token and layer
  const LossyCounts& counts(LossyMode mode) const { return counts_[static_cast<size_t>(mode)]; }
  const LossyCounts& total() const { return total_; }  // router's choices that were not computed, for whatever mode

 private:
  struct Choice {
    int32_t* ids;
    float* weights;
    int64_t count;
  };
  explicit LossyRouting(const EngineOptions& options)
      : skip_missing_(options.skip_missing), prior_(options.cache_prior), threshold_(options.top1_threshold) {}
  void prefer_resident(const ExpertStore& experts, int64_t layer, std::span<const float> probabilities,
                       const RouterOptions& router, Choice& choice);
  void drop_light(Choice& choice);
  void drop_missing(const ExpertStore& experts, int64_t layer, Choice& choice);
  template <typename Keeps>
  void keep(Choice& choice, LossyMode mode, const Keeps& keeps);
  static float sum(const Choice& choice);
  static void count_absent(const std::vector<int32_t>& ids, const std::vector<float>& weights, const Choice& choice,
                           LossyCounts& counts);

  bool skip_missing_;
  float prior_, threshold_;
  std::vector<int32_t> exact_ids_, skipped_;
  std::vector<float> exact_weights_, biased_;
  std::array<LossyCounts, kLossyModes> counts_;
  LossyCounts total_;
  uint64_t choices_ = 0;
  double weight_ = 0;
};

}  // namespace moxie

#include "model/blocks/lossy_routing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/fail.h"
#include "model/blocks/router.h"

namespace moxie {
namespace {

// Finite where a probability has vanished.
double logarithm(float probability) {
  return std::log(static_cast<double>(std::max(probability, std::numeric_limits<float>::denorm_min())));
}

}  // namespace

Result<std::unique_ptr<LossyRouting>> LossyRouting::create(const EngineOptions& options) {
  for (const auto& [name, value] :
       {std::pair{"cache-prior", options.cache_prior}, std::pair{"top1-threshold", options.top1_threshold}}) {
    if (!(value >= 0 && value <= 1))
      return fail(ErrorCode::invalid_argument, "{} {} is outside 0 to 1; 0 is off", name, value);
  }
  auto routing = std::unique_ptr<LossyRouting>(new LossyRouting(options));
  if (routing->name().empty()) routing.reset();
  return routing;
}

std::string_view LossyRouting::mode_name(LossyMode mode) {
  switch (mode) {
    case LossyMode::cache_prior:
      return "cache-prior";
    case LossyMode::top1_threshold:
      return "top1-threshold";
    case LossyMode::skip_missing:
      return "skip-missing";
  }
  return "";
}

bool LossyRouting::enabled(LossyMode mode) const {
  switch (mode) {
    case LossyMode::cache_prior:
      return prior_ > 0;
    case LossyMode::top1_threshold:
      return threshold_ > 0;
    case LossyMode::skip_missing:
      return skip_missing_;
  }
  return false;
}

std::string LossyRouting::name() const {
  std::string all;
  const auto add = [&](LossyMode mode, const std::string& value) {
    if (enabled(mode)) all += fmt::format("{}{}{}", all.empty() ? "" : ",", mode_name(mode), value);
  };
  add(LossyMode::cache_prior, fmt::format("={}", prior_));
  add(LossyMode::top1_threshold, fmt::format("={}", threshold_));
  add(LossyMode::skip_missing, "");
  return all;
}

float LossyRouting::sum(const Choice& choice) {
  float sum = 0;
  for (int64_t i = 0; i < choice.count; ++i) sum += choice.weights[i];
  return sum;
}

// Of `ids` those that are not in the choice.
void LossyRouting::count_absent(const std::vector<int32_t>& ids, const std::vector<float>& weights,
                                const Choice& choice, LossyCounts& counts) {
  double all = 0, absent = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    all += weights[i];
    if (std::find(choice.ids, choice.ids + choice.count, ids[i]) != choice.ids + choice.count) continue;
    absent += weights[i];
    ++counts.changed;
  }
  if (all > 0) counts.weight += absent / all;
}

int64_t LossyRouting::apply(const ExpertStore& experts, int64_t layer, std::span<const float> probabilities,
                            const RouterOptions& router, int32_t* ids, float* weights) {
  Choice choice = {.ids = ids, .weights = weights, .count = router.used};
  exact_ids_.assign(ids, ids + router.used);
  exact_weights_.assign(weights, weights + router.used);
  skipped_.clear();
  choices_ += static_cast<uint64_t>(router.used);
  weight_ += 1;
  if (prior_ > 0) prefer_resident(experts, layer, probabilities, router, choice);
  if (threshold_ > 0) drop_light(choice);
  if (skip_missing_) drop_missing(experts, layer, choice);
  count_absent(exact_ids_, exact_weights_, choice, total_);
  return choice.count;
}

// The bias of experts in memory is a share of the range of the token's logits. It decides who is chosen, not with what
// weight. Taken from the others instead of added, it leaves the order among those in memory as it was, to the bit.
void LossyRouting::prefer_resident(const ExpertStore& experts, int64_t layer, std::span<const float> probabilities,
                                   const RouterOptions& router, Choice& choice) {
  const auto ready = [&](int32_t id) { return experts.ready(layer, id); };
  if (std::all_of(exact_ids_.begin(), exact_ids_.end(), ready)) return;
  const auto [lowest, highest] = std::minmax_element(probabilities.begin(), probabilities.end());
  const double bias = static_cast<double>(prior_) * (logarithm(*highest) - logarithm(*lowest));
  biased_.resize(probabilities.size());
  for (size_t id = 0; id < probabilities.size(); ++id) {
    biased_[id] = static_cast<float>(logarithm(probabilities[id]) - (ready(static_cast<int32_t>(id)) ? 0 : bias));
  }
  RouterOptions unweighted = router;
  unweighted.normalise = false;
  choose_experts(biased_, unweighted, choice.ids, choice.weights);
  // The router's own rule, asked about the chosen alone, gives order and weights.
  std::fill(biased_.begin(), biased_.end(), -1.0f);
  for (int64_t i = 0; i < choice.count; ++i) {
    const auto id = static_cast<size_t>(choice.ids[i]);
    biased_[id] = probabilities[id];
  }
  choose_experts(biased_, router, choice.ids, choice.weights);
  count_absent(exact_ids_, exact_weights_, choice, counts_[static_cast<size_t>(LossyMode::cache_prior)]);
}

// Keeps the choices that `keeps` wants, at least one, and gives them the weight of all.
template <typename Keeps>
void LossyRouting::keep(Choice& choice, LossyMode mode, const Keeps& keeps) {
  const float before = sum(choice);
  LossyCounts& counts = counts_[static_cast<size_t>(mode)];
  const int64_t all = choice.count;
  int64_t count = 0;
  double dropped = 0;
  for (int64_t i = 0; i < all; ++i) {
    if (keeps(i)) {
      choice.ids[count] = choice.ids[i];
      choice.weights[count++] = choice.weights[i];
      continue;
    }
    dropped += choice.weights[i];
    if (mode == LossyMode::skip_missing) skipped_.push_back(choice.ids[i]);
    ++counts.changed;
  }
  choice.count = count;
  if (count == all) return;
  if (before > 0) counts.weight += dropped / before;
  const float after = sum(choice);
  for (int64_t i = 0; i < count && after > 0; ++i) choice.weights[i] *= before / after;
}

void LossyRouting::drop_light(Choice& choice) {
  const float least = threshold_ * sum(choice);
  keep(choice, LossyMode::top1_threshold, [&](int64_t i) { return i == 0 || !(choice.weights[i] < least); });
}

void LossyRouting::drop_missing(const ExpertStore& experts, int64_t layer, Choice& choice) {
  const auto ready = [&](int32_t id) { return experts.ready(layer, id); };
  const bool none = std::none_of(choice.ids, choice.ids + choice.count, ready);
  keep(choice, LossyMode::skip_missing, [&](int64_t i) { return none ? i == 0 : ready(choice.ids[i]); });
}

}  // namespace moxie

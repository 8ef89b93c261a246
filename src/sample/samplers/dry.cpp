// DRY ("don't repeat yourself"): a token that would lengthen a repetition of what came before is made less likely, the
// more so the longer the repetition already is. Sequence breakers (newline, colon, ...) end what counts as one
// repetition.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "sample/sampler.h"

namespace moxie::samplers {
namespace {

constexpr size_t kMaxBreakerBytes = 40, kMaxBreakerTokens = 20;

class Dry final : public Sampler {
 public:
  Dry(const SamplingOptions& options, const SamplerVocabulary& vocabulary) {
    for (const std::string& breaker : options.dry_sequence_breakers) {
      if (!breaker.empty()) add_breaker(breaker.substr(0, kMaxBreakerBytes), vocabulary);
    }
  }

  void apply(Candidates& candidates, const SamplerContext& context) override {
    const SamplingOptions& options = *context.options;
    const auto recent = recent_ids(context, options.dry_penalty_last_n);
    const size_t allowed = static_cast<size_t>(options.dry_allowed_length);
    if (recent.size() <= allowed) return;
    const size_t limit = tokens_since_breaker(recent);
    if (limit < allowed) return;
    find_repetitions(recent, limit, allowed);
    if (longest_.empty()) return;

    const double base = options.dry_base;
    for (Candidate& candidate : candidates.items) {
      const auto found = longest_.find(candidate.id);
      if (found == longest_.end()) continue;
      const double penalty = options.dry_multiplier * std::pow(base, static_cast<double>(found->second - allowed));
      // Finite whatever the length, so that the order among the penalised survives.
      candidate.logit -= static_cast<float>(std::min(penalty, 1e30));
    }
    candidates.logits_changed();
  }

 private:
  // Every token that holds the breaker, or ends with its beginning; in the latter case the tokens of the rest must
  // follow.
  void add_breaker(const std::string& breaker, const SamplerVocabulary& vocabulary) {
    if (!vocabulary.bytes) return;
    std::unordered_map<std::string, std::vector<int32_t>> tails;
    for (int32_t id = 0; id < vocabulary.size; ++id) {
      const std::string text = vocabulary.bytes(id);
      if (text.find(breaker) != std::string::npos) {
        breakers_[id].push_back({});
        continue;
      }
      for (size_t overlap = std::min(text.size(), breaker.size() - 1); overlap > 0; --overlap) {
        if (text.compare(text.size() - overlap, overlap, breaker, 0, overlap) != 0) continue;
        const std::string rest = breaker.substr(overlap);
        auto tail = tails.find(rest);
        if (tail == tails.end()) {
          std::vector<int32_t> ids = vocabulary.encode ? vocabulary.encode(rest) : std::vector<int32_t>{};
          if (ids.size() > kMaxBreakerTokens) ids.resize(kMaxBreakerTokens);
          tail = tails.emplace(rest, std::move(ids)).first;
        }
        if (!tail->second.empty()) breakers_[id].push_back(tail->second);
      }
    }
  }

  // How many tokens at the end come after the last breaker.
  size_t tokens_since_breaker(std::span<const int32_t> ids) const {
    for (size_t back = 0; back < ids.size(); ++back) {
      const size_t position = ids.size() - 1 - back;
      const auto found = breakers_.find(ids[position]);
      if (found == breakers_.end()) continue;
      size_t longest = 0;
      bool matched = false;
      for (const std::vector<int32_t>& tail : found->second) {
        if (tail.size() > back) continue;
        if (!std::equal(tail.begin(), tail.end(), ids.begin() + static_cast<std::ptrdiff_t>(position) + 1)) continue;
        matched = true;
        longest = std::max(longest, tail.size());
      }
      if (matched) return back - longest;
    }
    return ids.size();
  }

  // longest_[t]: length of the longest earlier copy of the end of the text (at most `limit`, at least `allowed`) that t
  // followed.
  void find_repetitions(std::span<const int32_t> ids, size_t limit, size_t allowed) {
    longest_.clear();
    // Z algorithm over the reversed text: match_[k] = how far the text ending k tokens before the end agrees with its
    // end.
    const size_t count = ids.size();
    const auto at = [&](size_t back) { return ids[count - 1 - back]; };
    match_.assign(count, 0);
    size_t left = 0, right = 0;  // the rightmost stretch [left, right) known to agree with the beginning
    for (size_t k = 1; k < count; ++k) {
      size_t length = k < right ? std::min(right - k, match_[k - left]) : 0;
      while (k + length < count && at(length) == at(k + length)) ++length;
      match_[k] = length;
      if (k + length > right) {
        left = k;
        right = k + length;
      }
      const size_t repeated = std::min(length, limit);
      if (repeated < allowed) continue;
      size_t& longest = longest_[at(k - 1)];
      longest = std::max(longest, repeated);
    }
  }

  std::unordered_map<int32_t, std::vector<std::vector<int32_t>>> breakers_;  // head token to the tails that complete it
  std::vector<size_t> match_;
  std::unordered_map<int32_t, size_t> longest_;
};

}  // namespace

extern const SamplerEntry dry = {
    .name = "dry",
    .letter = 'd',
    .summary = "penalises tokens that would lengthen a repetition (--dry-multiplier)",
    .create = [](const SamplingOptions& options, const SamplerVocabulary& vocabulary) -> std::unique_ptr<Sampler> {
      if (options.dry_multiplier == 0.0f || options.dry_penalty_last_n == 0) return nullptr;
      return std::make_unique<Dry>(options, vocabulary);
    },
};

}  // namespace moxie::samplers

#include "sample/chain.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/check.h"
#include "core/fail.h"
#include "grammar/grammar_cache.h"

namespace moxie {
namespace {

constexpr uint64_t kRandomSeed = 0xFFFFFFFFu;

struct Range {
  std::string_view option;
  float value;
  float low;
  float high;
};

Result<void> check_ranges(const SamplingOptions& options) {
  constexpr float kAny = std::numeric_limits<float>::max();
  const Range ranges[] = {
      {"temp", options.temp, -kAny, kAny},
      {"dynatemp_range", options.dynatemp_range, 0, kAny},
      {"dynatemp_exponent", options.dynatemp_exponent, 0, kAny},
      {"top_p", options.top_p, 0, 1},
      {"min_p", options.min_p, 0, 1},
      {"typical", options.typical, 0, 1},
      {"top_nsigma", options.top_nsigma, -kAny, kAny},
      {"xtc_probability", options.xtc_probability, 0, 1},
      {"xtc_threshold", options.xtc_threshold, 0, 1},
      {"repeat_penalty", options.repeat_penalty, std::numeric_limits<float>::min(), kAny},
      {"frequency_penalty", options.frequency_penalty, -kAny, kAny},
      {"presence_penalty", options.presence_penalty, -kAny, kAny},
      {"dry_multiplier", options.dry_multiplier, 0, kAny},
      {"dry_base", options.dry_base, 1, kAny},
      {"mirostat_lr", options.mirostat_lr, 0, kAny},
      {"mirostat_ent", options.mirostat_ent, 0, kAny},
  };
  for (const Range& range : ranges) {
    if (range.value >= range.low && range.value <= range.high) continue;  // NaN fails both
    if (!std::isfinite(range.value) || range.high == kAny) {
      if (range.low == -kAny || !std::isfinite(range.value)) {
        return fail(ErrorCode::invalid_argument, "{} is {}; it must be a finite number", range.option, range.value);
      }
      if (range.low > 0 && range.low < 1) {
        return fail(ErrorCode::invalid_argument, "{} is {}; it must be above 0", range.option, range.value);
      }
      return fail(ErrorCode::invalid_argument, "{} is {}; it must be at least {}", range.option, range.value,
                  range.low);
    }
    return fail(ErrorCode::invalid_argument, "{} is {}; it must lie between {} and {}", range.option, range.value,
                range.low, range.high);
  }

  const std::pair<std::string_view, std::pair<int, int>> integers[] = {
      {"min_keep", {options.min_keep, 0}},
      {"repeat_last_n", {options.repeat_last_n, -1}},
      {"dry_allowed_length", {options.dry_allowed_length, 0}},
      {"dry_penalty_last_n", {options.dry_penalty_last_n, -1}},
  };
  for (const auto& [option, values] : integers) {
    if (values.first >= values.second) continue;
    return fail(ErrorCode::invalid_argument, "{} is {}; it must be at least {}", option, values.first, values.second);
  }
  if (options.mirostat < 0 || options.mirostat > 2) {
    return fail(ErrorCode::invalid_argument, "mirostat is {}; it must be 0 (off), 1 or 2", options.mirostat);
  }
  return {};
}

Result<void> check_biases(const SamplingOptions& options, int32_t vocabulary) {
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= vocabulary) {
      return fail(ErrorCode::invalid_argument, "logit_bias names token {}; the vocabulary has ids 0 to {}", id,
                  vocabulary - 1);
    }
    if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity()) {
      return fail(ErrorCode::invalid_argument, "logit_bias of token {} is {}; give a finite number, or -inf to ban it",
                  id, bias);
    }
  }
  return {};
}

// The names of the chain, in order, for the mode that the options choose.
std::vector<std::string> chain_names(const SamplingOptions& options) {
  std::vector<std::string> names = {"logit_bias"};
  if (options.mirostat != 0) {
    names.insert(names.end(), {"temperature", options.mirostat == 1 ? "mirostat" : "mirostat_v2"});
    return names;
  }
  const bool listed = std::any_of(options.samplers.begin(), options.samplers.end(), [](const std::string& name) {
    const SamplerEntry* entry = find_sampler(name);
    return entry && entry->name == "top_n_sigma";
  });
  if (options.top_nsigma >= 0 && !listed) {
    names.insert(names.end(), {"top_k", "temperature", "top_n_sigma"});
    return names;
  }
  names.insert(names.end(), options.samplers.begin(), options.samplers.end());
  return names;
}

std::mt19937 seeded(uint64_t seed) {
  if (seed <= std::numeric_limits<uint32_t>::max()) return std::mt19937(static_cast<uint32_t>(seed));
  std::seed_seq both = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  return std::mt19937(both);
}

// Nothing: the options name no grammar.
Result<std::optional<grammar::GrammarMatcher>> make_matcher(const SamplingOptions& options,
                                                            const SamplerVocabulary& vocabulary) {
  using grammar::GrammarKind;
  const std::pair<GrammarKind, const std::string&> kinds[] = {{GrammarKind::gbnf, options.grammar},
                                                              {GrammarKind::json_schema, options.json_schema},
                                                              {GrammarKind::regex, options.regex},
                                                              {GrammarKind::structure, options.structure}};
  const auto given =
      std::find_if(std::begin(kinds), std::end(kinds), [](const auto& kind) { return !kind.second.empty(); });
  if (given == std::end(kinds)) return std::optional<grammar::GrammarMatcher>();
  if (vocabulary.grammars == nullptr) {
    return fail(ErrorCode::unsupported, "the model has no tokenizer, so a grammar cannot constrain its text");
  }
  MOXIE_TRY(auto compiled, vocabulary.grammars->get(given->first, given->second));
  return std::optional(grammar::GrammarMatcher(std::move(compiled)));
}

}  // namespace

Result<void> check_sampling_options(const SamplingOptions& options) {
  MOXIE_TRY_VOID(check_ranges(options));
  for (const std::string& name : options.samplers) {
    const SamplerEntry* entry = find_sampler(name);
    if (entry && entry->letter != 0) continue;
    std::string known;
    for (const SamplerEntry* each : sampler_entries()) {
      if (each->letter != 0) known += fmt::format("{}{}", known.empty() ? "" : ", ", each->name);
    }
    return fail(ErrorCode::invalid_argument, "samplers: '{}' {}; there are {}", name,
                entry ? "is put in its place by its own option" : "is no sampler", known);
  }
  const int grammars =
      (options.grammar.empty() ? 0 : 1) + (options.json_schema.empty() ? 0 : 1) + (options.regex.empty() ? 0 : 1);
  if (grammars > 1) {
    return fail(ErrorCode::invalid_argument,
                "{} of grammar, json_schema and regex are given; an answer can follow one of them", grammars);
  }
  return {};
}

Result<SamplerChain> SamplerChain::create(const SamplingOptions& options, const SamplerVocabulary& vocabulary,
                                          int64_t context_tokens, std::vector<int32_t> end_ids) {
  if (vocabulary.size <= 0)
    return fail(ErrorCode::invalid_argument, "a vocabulary of {} tokens cannot be sampled", vocabulary.size);
  MOXIE_TRY_VOID(check_sampling_options(options));
  MOXIE_TRY_VOID(check_biases(options, vocabulary.size));

  SamplerChain chain;
  chain.options_ = options;
  MOXIE_TRY(chain.grammar_, make_matcher(options, vocabulary));
  for (const int32_t id : end_ids) {
    if (!options.ignore_eos && id >= 0 && id < vocabulary.size) chain.end_ids_.push_back(id);
  }
  if (options.ignore_eos) {
    for (const int32_t id : end_ids) {
      if (id < 0 || id >= vocabulary.size) continue;
      chain.options_.logit_bias.emplace_back(id, -std::numeric_limits<float>::infinity());
    }
  }
  for (const std::string& name : chain_names(chain.options_)) {
    auto sampler = find_sampler(name)->create(chain.options_, vocabulary);
    if (sampler) chain.samplers_.push_back(std::move(sampler));
  }
  chain.context_tokens_ = std::max<int64_t>(context_tokens, 1);
  // So that decoding does not allocate; a context that nobody fills is not paid for.
  chain.history_.reserve(static_cast<size_t>(std::min(chain.context_tokens_, int64_t{1} << 20)) * 2);
  chain.candidates_.items.reserve(static_cast<size_t>(vocabulary.size));
  chain.seed_ = options.seed;
  if (chain.seed_ == kRandomSeed) {
    do {
      chain.seed_ = std::random_device{}();
    } while (chain.seed_ == kRandomSeed);  // the seed that is reported must reproduce the text
  }
  chain.random_ = seeded(chain.seed_);
  return chain;
}

void SamplerChain::load(std::span<const float> logits) {
  candidates_.items.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    float logit = logits[i];
    if (std::isnan(logit)) logit = -std::numeric_limits<float>::infinity();
    candidates_.items[i] = {static_cast<int32_t>(i), std::min(logit, std::numeric_limits<float>::max()), 0};
  }
  candidates_.logits_changed();
}

void SamplerChain::load_allowed(std::span<const float> logits) {
  candidates_.items.clear();
  const auto add = [&](size_t id) {
    const float logit = std::isnan(logits[id]) ? -std::numeric_limits<float>::infinity() : logits[id];
    candidates_.items.push_back({static_cast<int32_t>(id), std::min(logit, std::numeric_limits<float>::max()), 0});
  };
  const auto words = grammar_->allowed();
  for (size_t w = 0; w < words.size(); ++w) {
    for (uint64_t bits = words[w]; bits != 0; bits &= bits - 1) {
      const size_t id = w * 64 + static_cast<size_t>(std::countr_zero(bits));
      if (id < logits.size()) add(id);
    }
  }
  if (grammar_->can_end()) {
    for (const int32_t id : end_ids_) add(static_cast<size_t>(id));
  }
  candidates_.logits_changed();
}

// The index of the drawn candidate. Inverts the cumulative distribution in double precision: std::discrete_distribution
// is free to differ between standard libraries.
size_t SamplerChain::choose() {
  if (options_.temp <= 0) {
    candidates_.items = {candidates_.items[candidates_.best()]};
    candidates_.sorted = true;
    candidates_.normalised = false;
  }
  candidates_.normalise();
  if (candidates_.items.size() == 1) return 0;
  double total = 0;
  for (const Candidate& item : candidates_.items) total += item.probability;
  const double target = draw_uniform(random_) * total;
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < candidates_.items.size(); ++i) {
    if (candidates_.items[i].probability <= 0) continue;
    last = i;
    sum += candidates_.items[i].probability;
    if (sum > target) break;
  }
  return last;
}

int32_t SamplerChain::sample(std::span<const float> logits) {
  MOXIE_CHECK(!logits.empty());
  if (grammar_) {
    load_allowed(logits);
    if (candidates_.items.empty()) return kNoToken;
  } else {
    load(logits);
  }
  const SamplerContext context = {&options_, history_, context_tokens_, &random_};
  for (const auto& sampler : samplers_) sampler->apply(candidates_, context);
  const Candidate chosen = candidates_.items[choose()];
  for (const auto& sampler : samplers_) sampler->drawn(chosen);
  return chosen.id;
}

Result<void> SamplerChain::why_none() const {
  if (grammar_->can_end()) return {};
  if (grammar_->gave_up()) {
    return fail(
        ErrorCode::unsupported,
        "the text fits the grammar in too many ways at once, or nests too deep, to go on; make its alternatives "
        "begin differently");
  }
  return fail(ErrorCode::unsupported,
              "no token of this model's vocabulary spells what the grammar wants next; allow other characters there");
}

void SamplerChain::accept(int32_t id) {
  remember(id);
  if (!grammar_ || std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end()) return;
  MOXIE_CHECK(grammar_->accept(id));
}

void SamplerChain::remember(int32_t id) {
  // No sampler looks further back than the context; the older half goes at once, so that it costs nothing per token.
  if (history_.size() >= static_cast<size_t>(context_tokens_) * 2) {
    history_.erase(history_.begin(), history_.end() - static_cast<std::ptrdiff_t>(context_tokens_));
  }
  history_.push_back(id);
}

void SamplerChain::reset() {
  history_.clear();
  random_ = seeded(seed_);
  for (const auto& sampler : samplers_) sampler->reset();
  if (grammar_) grammar_->reset();
}

}  // namespace moxie

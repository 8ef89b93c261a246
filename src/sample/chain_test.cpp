#include "sample/chain.h"

#include "grammar/grammar_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "support/paths.h"

namespace moxie {
namespace {

using nlohmann::json;

const json& vectors() {
  static const json all = [] {
    std::ifstream in(source_dir() + "/tests/data/samplers.json");
    return json::parse(in);
  }();
  return all;
}

SamplingOptions options_from(const json& fields) {
  SamplingOptions options;
  const std::map<std::string, float*> floats = {{"temp", &options.temp},
                                                {"dynatemp_range", &options.dynatemp_range},
                                                {"dynatemp_exponent", &options.dynatemp_exponent},
                                                {"top_p", &options.top_p},
                                                {"min_p", &options.min_p},
                                                {"typical", &options.typical},
                                                {"top_nsigma", &options.top_nsigma},
                                                {"xtc_probability", &options.xtc_probability},
                                                {"xtc_threshold", &options.xtc_threshold},
                                                {"repeat_penalty", &options.repeat_penalty},
                                                {"frequency_penalty", &options.frequency_penalty},
                                                {"presence_penalty", &options.presence_penalty},
                                                {"dry_multiplier", &options.dry_multiplier},
                                                {"dry_base", &options.dry_base},
                                                {"mirostat_lr", &options.mirostat_lr},
                                                {"mirostat_ent", &options.mirostat_ent}};
  const std::map<std::string, int*> integers = {{"top_k", &options.top_k},
                                                {"min_keep", &options.min_keep},
                                                {"repeat_last_n", &options.repeat_last_n},
                                                {"dry_allowed_length", &options.dry_allowed_length},
                                                {"dry_penalty_last_n", &options.dry_penalty_last_n},
                                                {"mirostat", &options.mirostat}};
  for (const auto& [key, value] : fields.items()) {
    if (floats.contains(key)) {
      *floats.at(key) = value.get<float>();
    } else if (integers.contains(key)) {
      *integers.at(key) = value.get<int>();
    } else if (key == "samplers") {
      options.samplers = value.get<std::vector<std::string>>();
    } else if (key == "logit_bias") {
      options.logit_bias = value.get<std::vector<std::pair<int32_t, float>>>();
    } else {
      ADD_FAILURE() << "unknown field " << key;
    }
  }
  return options;
}

SamplerVocabulary vocabulary_of(size_t size) {
  return {.size = static_cast<int32_t>(size),
          .bytes =
              [](int32_t id) {
                const auto found = vectors()["breakers"].find(std::to_string(id));
                return found == vectors()["breakers"].end() ? "w" + std::to_string(id) : found->get<std::string>();
              },
          .encode = [](std::string_view) { return std::vector<int32_t>{}; }};
}

std::vector<float> logits_of(const json& test) {
  std::vector<float> logits;
  for (const json& value : test["logits_64ths"]) logits.push_back(value.get<float>() / 64);
  return logits;
}

Candidates candidates_of(std::span<const float> logits) {
  Candidates candidates;
  for (size_t i = 0; i < logits.size(); ++i) candidates.items.push_back({static_cast<int32_t>(i), logits[i], 0});
  return candidates;
}

void expect_same(Candidates found, const json& expected, const std::string& what) {
  found.logits_changed();
  found.softmax();
  std::vector<int32_t> ids;
  for (const Candidate& item : found.items) ids.push_back(item.id);
  std::vector<int32_t> expected_ids = expected["ids"];
  std::map<int32_t, double> probabilities;
  for (size_t i = 0; i < expected_ids.size(); ++i) probabilities[expected_ids[i]] = expected["probabilities"][i];
  std::sort(ids.begin(), ids.end());
  std::sort(expected_ids.begin(), expected_ids.end());
  ASSERT_EQ(ids, expected_ids) << what;
  for (const Candidate& item : found.items) {
    const double probability = probabilities[item.id];
    EXPECT_NEAR(item.probability, probability, 1e-6 + 2e-5 * probability) << what << " id " << item.id;
  }
}

TEST(Samplers, AgreeWithTheirDefinitions) {
  std::set<std::string> seen;
  for (const json& test : vectors()["single"]) {
    const std::string name = test["sampler"];
    const std::string what = name + " " + test["options"].dump();
    seen.insert(name);
    const SamplingOptions options = options_from(test["options"]);
    const std::vector<float> logits = logits_of(test);
    const std::vector<int32_t> history = test["history"];
    Candidates candidates = candidates_of(logits);
    std::mt19937 random(1);
    const auto sampler = find_sampler(name)->create(options, vocabulary_of(logits.size()));
    if (sampler) sampler->apply(candidates, {&options, history, 4096, &random});
    expect_same(candidates, test, what);
  }
  EXPECT_EQ(seen.size(), 10u);
}

TEST(SamplerChain, AgreesWithItsDefinition) {
  for (const json& test : vectors()["chain"]) {
    const std::vector<float> logits = logits_of(test);
    auto chain = SamplerChain::create(options_from(test["options"]), vocabulary_of(logits.size()), 4096, {});
    ASSERT_TRUE(chain.ok()) << chain.error().message;
    for (const int32_t id : test["history"].get<std::vector<int32_t>>()) chain->accept(id);
    const int32_t drawn = chain->sample(logits);
    const auto& last = chain->last().items;
    EXPECT_TRUE(std::any_of(last.begin(), last.end(), [&](const Candidate& item) { return item.id == drawn; }));
    expect_same(chain->last(), test, test["options"].dump());
  }
}

TEST(SamplerChain, MirostatFollowsItsTarget) {
  for (const json& test : vectors()["mirostat"]) {
    SamplingOptions options = options_from(test["options"]);
    const auto vocabulary = vocabulary_of(test["vocabulary"]);
    const auto sampler = find_sampler(options.mirostat == 1 ? "mirostat" : "mirostat_v2")->create(options, vocabulary);
    ASSERT_NE(sampler, nullptr);
    std::mt19937 random(1);
    for (int round = 0; round < 2; ++round) {  // the second after reset()
      for (const json& step : test["steps"]) {
        Candidates candidates = candidates_of(logits_of(step));
        sampler->apply(candidates, {&options, {}, 4096, &random});
        const auto drawn = std::find_if(candidates.items.begin(), candidates.items.end(),
                                        [&](const Candidate& item) { return item.id == step["drawn"].get<int32_t>(); });
        ASSERT_NE(drawn, candidates.items.end());
        ASSERT_TRUE(candidates.normalised);
        sampler->drawn(*drawn);
        expect_same(candidates, step, test["options"].dump());
      }
      sampler->reset();
    }
    options.samplers = {"top_k"};
    options.top_k = 1;  // no part of the mirostat chain
    auto chain = SamplerChain::create(options, vocabulary, 4096, {});
    ASSERT_TRUE(chain.ok());
    options.temp = 1;
    chain->sample(logits_of(test["steps"][0]));
    EXPECT_EQ(chain->last().items.size() > 1, test["steps"][0]["ids"].size() > 1);
  }
}

TEST(SamplerChain, DrawsByTheSeed) {
  for (const json& test : vectors()["draw"]) {
    SamplingOptions options = options_from(test["options"]);
    options.seed = test["seed"].get<uint64_t>();
    const std::vector<float> logits = logits_of(test);
    auto chain = SamplerChain::create(options, vocabulary_of(logits.size()), 4096, {});
    ASSERT_TRUE(chain.ok());
    EXPECT_EQ(chain->seed(), options.seed);
    for (int round = 0; round < 2; ++round) {
      std::vector<int32_t> drawn;
      for (int i = 0; i < 64; ++i) drawn.push_back(chain->sample(logits));
      EXPECT_EQ(drawn, test["drawn"].get<std::vector<int32_t>>()) << "seed " << options.seed;
      chain->reset();
    }
  }
}

TEST(SamplerChain, ReportsARandomSeedThatReproducesTheText) {
  std::vector<float> logits(50);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i % 7) * 0.1f;
  SamplingOptions options;
  auto first = SamplerChain::create(options, vocabulary_of(50), 64, {});
  ASSERT_TRUE(first.ok());
  options.seed = first->seed();
  EXPECT_NE(options.seed, 0xFFFFFFFFu);
  auto second = SamplerChain::create(options, vocabulary_of(50), 64, {});
  ASSERT_TRUE(second.ok());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(first->sample(logits), second->sample(logits));
  options.seed = 0x1'0000'0001;  // seeds beyond 32 bits are distinct from their lower half
  auto wide = SamplerChain::create(options, vocabulary_of(50), 64, {});
  options.seed = 1;
  auto narrow = SamplerChain::create(options, vocabulary_of(50), 64, {});
  ASSERT_TRUE(wide.ok() && narrow.ok());
  std::vector<int32_t> a, b;
  for (int i = 0; i < 20; ++i) {
    a.push_back(wide->sample(logits));
    b.push_back(narrow->sample(logits));
  }
  EXPECT_NE(a, b);
}

TEST(SamplerChain, GreedyTakesTheLowestOfTheBest) {
  SamplingOptions options;
  options.temp = 0;
  const std::vector<float> logits = {1, 3, 2, 3, -1, 3};
  for (const auto& samplers : {options.samplers, std::vector<std::string>{}, std::vector<std::string>{"top_k"}}) {
    options.samplers = samplers;
    auto chain = SamplerChain::create(options, vocabulary_of(6), 64, {});
    ASSERT_TRUE(chain.ok());
    EXPECT_EQ(chain->sample(logits), 1);
  }
  options.ignore_eos = true;
  auto chain = SamplerChain::create(options, vocabulary_of(6), 64, {1, 3});
  ASSERT_TRUE(chain.ok());
  EXPECT_EQ(chain->sample(logits), 5);
}

// Every listed sampler, switched on, over ordinary and hostile logits.
SamplingOptions everything_on() {
  SamplingOptions options;
  options.temp = 0.7f;
  options.dynatemp_range = 0.4f;
  options.typical = 0.8f;
  options.top_nsigma = 1.5f;
  options.xtc_probability = 1.0f;
  options.xtc_threshold = 0.01f;
  options.repeat_penalty = 1.2f;
  options.frequency_penalty = 0.3f;
  options.dry_multiplier = 0.8f;
  options.logit_bias = {{3, 4.0f}, {5, -std::numeric_limits<float>::infinity()}};
  return options;
}

std::vector<std::vector<float>> hostile_logits() {
  const float infinity = std::numeric_limits<float>::infinity();
  std::mt19937 random(3);
  std::vector<std::vector<float>> all;
  for (int i = 0; i < 20; ++i) {
    std::vector<float> logits(64);
    for (float& logit : logits) logit = static_cast<float>((draw_uniform(random) - 0.5) * (i + 1) * 4);
    all.push_back(logits);
  }
  all.emplace_back(64, 0.0f);
  all.emplace_back(64, -infinity);
  all.emplace_back(64, std::numeric_limits<float>::max());
  all.emplace_back(64, -std::numeric_limits<float>::max());
  std::vector<float> one(64, -infinity);
  one[9] = 2;
  all.push_back(one);
  one[0] = std::numeric_limits<float>::max();
  all.push_back(one);
  return all;
}

void expect_distribution(Candidates candidates, std::string_view what) {
  ASSERT_FALSE(candidates.items.empty()) << what;
  candidates.normalise();
  double sum = 0;
  for (const Candidate& item : candidates.items) {
    ASSERT_TRUE(std::isfinite(item.probability) && item.probability >= 0) << what;
    ASSERT_FALSE(std::isnan(item.logit)) << what;
    sum += item.probability;
  }
  EXPECT_NEAR(sum, 1.0, 1e-4) << what;
}

TEST(SamplerContract, GivesADistributionAndRepeatsByItsSeed) {
  const std::vector<int32_t> history = {1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3};
  for (const SamplerEntry* entry : sampler_entries()) {
    SamplingOptions options = everything_on();
    options.mirostat = entry->name == "mirostat" ? 1 : 2;
    EXPECT_FALSE(entry->summary.empty());
    for (const std::vector<float>& logits : hostile_logits()) {
      std::vector<std::vector<std::pair<int32_t, float>>> runs;
      for (int run = 0; run < 2; ++run) {
        const auto sampler = entry->create(options, vocabulary_of(logits.size()));
        ASSERT_NE(sampler, nullptr) << entry->name;
        std::mt19937 random(11);
        Candidates candidates = candidates_of(logits);
        sampler->apply(candidates, {&options, history, 64, &random});
        expect_distribution(candidates, entry->name);
        sampler->drawn(candidates.items[0]);
        sampler->apply(candidates, {&options, history, 64, &random});
        expect_distribution(candidates, entry->name);
        runs.emplace_back();
        for (const Candidate& item : candidates.items) runs.back().emplace_back(item.id, item.logit);
      }
      EXPECT_EQ(runs[0], runs[1]) << entry->name;
    }
    if (entry->letter == 0) continue;
    const auto names = samplers_from_letters(std::string(1, entry->letter));
    ASSERT_TRUE(names.ok());
    EXPECT_EQ(names->at(0), entry->name);
    EXPECT_EQ(find_sampler(entry->alias.empty() ? entry->name : entry->alias), entry);
  }
  // All of them in one chain, NaN and infinity from a broken model included.
  SamplingOptions options = everything_on();
  options.seed = 5;
  options.samplers = {"penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"};
  auto chain = SamplerChain::create(options, vocabulary_of(64), 16, {});
  ASSERT_TRUE(chain.ok());
  auto logits = hostile_logits();
  logits.emplace_back(64, std::numeric_limits<float>::quiet_NaN());
  logits.emplace_back(64, std::numeric_limits<float>::infinity());
  for (int round = 0; round < 5; ++round) {
    for (const auto& each : logits) {
      const int32_t id = chain->sample(each);
      ASSERT_TRUE(id >= 0 && id < 64);
      chain->accept(id);
      expect_distribution(chain->last(), "chain");
    }
  }
}

TEST(SamplerContract, NeutralOptionsNeedNoSampler) {
  SamplingOptions options;
  options.temp = 1.0f;
  options.top_k = 0;
  options.top_p = 1.0f;
  options.min_p = 0.0f;
  for (const SamplerEntry* entry : sampler_entries()) {
    EXPECT_EQ(entry->create(options, vocabulary_of(8)), nullptr) << entry->name;
  }
}

TEST(SamplerChain, RefusesValuesOutOfRange) {
  const auto message = [](const auto& change) -> std::string {
    SamplingOptions options;
    change(options);
    const auto chain = SamplerChain::create(options, vocabulary_of(10), 64, {});
    return chain.ok() ? "accepted" : chain.error().message;
  };
  using O = SamplingOptions;
  EXPECT_EQ(message([](O& o) { o.top_p = 1.5f; }), "top_p is 1.5; it must lie between 0 and 1");
  EXPECT_EQ(message([](O& o) { o.min_p = -0.5f; }), "min_p is -0.5; it must lie between 0 and 1");
  EXPECT_EQ(message([](O& o) { o.temp = NAN; }), "temp is nan; it must be a finite number");
  EXPECT_EQ(message([](O& o) { o.repeat_penalty = 0; }), "repeat_penalty is 0; it must be above 0");
  EXPECT_EQ(message([](O& o) { o.dry_base = 0.5f; }), "dry_base is 0.5; it must be at least 1");
  EXPECT_EQ(message([](O& o) { o.repeat_last_n = -2; }), "repeat_last_n is -2; it must be at least -1");
  EXPECT_EQ(message([](O& o) { o.mirostat = 3; }), "mirostat is 3; it must be 0 (off), 1 or 2");
  EXPECT_EQ(message([](O& o) {
              o.logit_bias = {{10, 1.0f}};
            }),
            "logit_bias names token 10; the vocabulary has ids 0 to 9");
  EXPECT_EQ(message([](O& o) {
              o.samplers = {"top_k", "top_q"};
            }),
            "samplers: 'top_q' is no sampler; there are penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, "
            "temperature");
  EXPECT_EQ(message([](O& o) { o.samplers = {"top-k", "typical", "temp"}; }), "accepted");
  EXPECT_FALSE(samplers_from_letters("kz").ok());
}

TEST(SamplerChain, DryBreakersMaySpanTokens) {
  // The breaker "ab" is token 2 followed by token 3, or whole in token 4.
  const std::vector<std::string> texts = {"x", "y", "xa", "b", "xab", "z", "q"};
  SamplerVocabulary vocabulary = {
      .size = 7,
      .bytes = [&](int32_t id) { return texts[static_cast<size_t>(id)]; },
      .encode = [](std::string_view text) { return text == "b" ? std::vector<int32_t>{3} : std::vector<int32_t>{}; }};
  SamplingOptions options;
  options.temp = 0;
  options.dry_multiplier = 100;
  options.dry_allowed_length = 1;
  options.dry_sequence_breakers = {"ab"};
  options.samplers = {"dry", "temperature"};
  const std::vector<float> logits = {0, 0, 0, 0, 0, 1, 0};
  const auto next = [&](std::initializer_list<int32_t> history) {
    auto chain = SamplerChain::create(options, vocabulary, 64, {});
    for (const int32_t id : history) chain->accept(id);
    return chain->sample(logits);
  };
  EXPECT_NE(next({0, 1, 5, 0, 1}), 5);  // "x y" was followed by z
  EXPECT_EQ(next({2, 3, 5, 2, 3}), 5);  // but what ends with a breaker is no repetition
  EXPECT_EQ(next({4, 5, 4}), 5);
  EXPECT_NE(next({2, 5, 2}), 5);  // half a breaker is none
}

TEST(SamplerChain, ForgetsBeyondTheContext) {
  SamplingOptions options;
  options.temp = 0;
  options.repeat_last_n = -1;
  options.presence_penalty = 10;
  auto chain = SamplerChain::create(options, vocabulary_of(4), 8, {});
  ASSERT_TRUE(chain.ok());
  const std::vector<float> logits = {5, 4, 0, 0};
  chain->accept(0);
  EXPECT_EQ(chain->sample(logits), 1);
  for (int i = 0; i < 100; ++i) chain->accept(2);
  EXPECT_EQ(chain->sample(logits), 0);
}

// Tokens: 0 "", 1 the end, 2 "a", 3 "b", 4 "ab", 5 "c".
TEST(SamplerChain, UnderAGrammarOnlyWhatFitsIsDrawn) {
  grammar::GrammarCache grammars(
      [] {
        const int32_t ends[] = {1};
        return std::make_shared<const grammar::TokenTrie>(std::vector<std::string>{"", "", "a", "b", "ab", "c"}, ends);
      },
      {});
  SamplerVocabulary vocabulary = vocabulary_of(6);
  SamplingOptions options;
  options.temp = 0;
  options.grammar = "root ::= \"a\" \"b\"+";
  EXPECT_FALSE(SamplerChain::create(options, vocabulary, 8, {1}).ok());  // without text there is nothing to constrain
  vocabulary.grammars = &grammars;
  const std::vector<float> logits = {9, 8, 1, 2, 0, 7};
  auto chain = SamplerChain::create(options, vocabulary, 8, {1});
  ASSERT_TRUE(chain.ok()) << chain.error().message;
  chain->remember(5);  // a prompt is not looked at
  for (int run = 0; run < 2; ++run) {
    EXPECT_EQ(chain->sample(logits), 2);
    chain->accept(2);
    EXPECT_EQ(chain->sample(logits), 3);
    chain->accept(3);
    EXPECT_EQ(chain->sample(logits), 1);  // the end fits now, and is likelier than more
    ASSERT_NE(chain->grammar(), nullptr);
    chain->grammar()->rollback(1);
    EXPECT_EQ(chain->sample(logits), 3);
    chain->reset();
  }

  options.ignore_eos = true;
  options.grammar = "root ::= \"ab\"";
  auto endless = SamplerChain::create(options, vocabulary, 8, {1});
  ASSERT_TRUE(endless.ok());
  endless->accept(4);
  EXPECT_EQ(endless->sample(logits), SamplerChain::kNoToken);
  EXPECT_TRUE(endless->why_none().ok());

  options.grammar = "root ::= \"ax\"";
  auto stuck = SamplerChain::create(options, vocabulary, 8, {1});
  ASSERT_TRUE(stuck.ok());
  stuck->accept(2);
  EXPECT_EQ(stuck->sample(logits), SamplerChain::kNoToken);
  EXPECT_FALSE(stuck->why_none().ok());

  options.regex = "a";
  EXPECT_FALSE(SamplerChain::create(options, vocabulary, 8, {1}).ok());
}

}  // namespace
}  // namespace moxie

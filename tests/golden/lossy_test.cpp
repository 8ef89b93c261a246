// Lossy modes on whole models: what they may not change, what they cost, and that they are counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <numeric>

#include "core/fail.h"
#include "engine/perplexity.h"
#include "golden/golden_models.h"
#include "support/open_engine.h"
#include "support/paths.h"

namespace moxie {
namespace {

constexpr int32_t kLossyPrompt[] = {1, 5, 9, 2, 7, 30, 11, 4, 6, 3, 17, 8};

// Logits of each step of a greedy generation.
Result<std::vector<float>> lossy_logits(const EngineOptions& options, ExpertStats* stats) {
  MOXIE_TRY(auto engine, test::open_engine(options));
  MOXIE_TRY(auto sequence, engine->new_sequence());
  std::vector<float> all;
  const auto keep = [&](int64_t, std::span<const float> logits) {
    all.insert(all.end(), logits.begin(), logits.end());
  };
  MOXIE_TRY_VOID(sequence->append(kLossyPrompt, keep));
  for (int step = 0; step < 24; ++step) {
    const std::span<const float> logits = sequence->logits();
    const int32_t id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    MOXIE_TRY_VOID(sequence->append({&id, 1}, keep));
  }
  *stats = engine->expert_stats();
  return all;
}

EngineOptions small_model() {
  return {.model = (golden::data_folder() / "golden/mixtral/merged.gguf").string()};
}

TEST(LossyModes, ChangeNothingWhileEveryExpertIsInMemory) {
  ExpertStats stats;
  const auto exact = lossy_logits(small_model(), &stats);
  ASSERT_TRUE(exact.ok()) << exact.error().message;
  EXPECT_EQ(stats.mode, "exact");
  for (const int64_t slots : {int64_t{-1}, int64_t{64}}) {
    EngineOptions options = small_model();
    options.expert_slots = slots;
    options.skip_missing = true;
    options.cache_prior = 1;
    const auto lossy = lossy_logits(options, &stats);
    ASSERT_TRUE(lossy.ok()) << lossy.error().message;
    EXPECT_TRUE(*lossy == *exact) << slots;
    EXPECT_EQ(stats.mode, "cache-prior=1,skip-missing");
    EXPECT_GT(stats.lossy_accesses, 0u);
    EXPECT_EQ(stats.lossy_changed, 0u);
    EXPECT_EQ(stats.lossy_weight_share, 0);
  }
}

TEST(LossyModes, AThresholdChangesAnswersButNoPrompt) {
  ExpertStats stats;
  const auto exact = lossy_logits(small_model(), &stats);
  EngineOptions options = small_model();
  options.top1_threshold = 0.45f;
  const auto lossy = lossy_logits(options, &stats);
  ASSERT_TRUE(exact.ok() && lossy.ok());
  const size_t prompt = exact->size() / (std::size(kLossyPrompt) + 24) * std::size(kLossyPrompt);
  EXPECT_TRUE(std::equal(exact->begin(), exact->begin() + static_cast<ptrdiff_t>(prompt), lossy->begin()));
  EXPECT_FALSE(*lossy == *exact);
  EXPECT_GT(stats.lossy_changed, 0u);
  EXPECT_LT(stats.lossy_weight_share, 0.45);
  EXPECT_EQ(stats.lossy_modes.size(), 1u);
}

TEST(LossyModes, LeaveOutTheExpertsThatAreMissingOnEveryFamily) {
  for (const char* model : {"mixtral/merged.gguf", "qwen2_moe/merged.gguf"}) {
    EngineOptions options = {.model = (golden::data_folder() / "golden" / model).string(), .expert_slots = 4};
    options.skip_missing = true;
    options.lookahead = "on";
    ExpertStats stats;
    const auto logits = lossy_logits(options, &stats);
    ASSERT_TRUE(logits.ok()) << logits.error().message;
    EXPECT_TRUE(std::all_of(logits->begin(), logits->end(), [](float x) { return std::isfinite(x); }));
    EXPECT_GT(stats.lossy_changed, 0u) << model;
    EXPECT_GT(stats.lossy_weight_share, 0) << model;
    EXPECT_LT(stats.lossy_weight_share, 1) << model;
  }
}

// Answers go on from what the prompt left in memory: in the last layer as in the others.
TEST(LossyModes, PromptsUseTheLastLayersExperts) {
  EngineOptions options = small_model();
  options.expert_slots = 4;
  options.skip_missing = true;
  const auto engine = test::open_engine(options).value();
  const auto sequence = engine->new_sequence().value();
  ASSERT_TRUE(sequence->append(kLossyPrompt).ok());
  const ExpertHeat heat = engine->expert_heat();
  const auto last_layer = heat.uses.end() - static_cast<ptrdiff_t>(heat.experts);
  EXPECT_EQ(std::accumulate(last_layer, heat.uses.end(), uint64_t{0}),
            std::size(kLossyPrompt) * static_cast<uint64_t>(engine->model().experts_used));
}

TEST(ExpertHeat, CountsEveryTokensExperts) {
  for (const int64_t slots : {int64_t{-1}, int64_t{3}}) {
    EngineOptions options = small_model();
    options.expert_slots = slots;
    const auto engine = test::open_engine(options).value();
    const auto sequence = engine->new_sequence().value();
    ASSERT_TRUE(sequence->append(kLossyPrompt).ok());
    const int32_t id = 4;
    ASSERT_TRUE(sequence->append({&id, 1}).ok());
    const ExpertHeat heat = engine->expert_heat();
    const auto used = static_cast<size_t>(engine->model().experts_used);
    ASSERT_EQ(heat.uses.size(), static_cast<size_t>(heat.layers * heat.experts));
    ASSERT_EQ(heat.states.size(), heat.uses.size());
    for (int64_t layer = 0; layer < heat.layers; ++layer) {
      const auto at = [&](const auto& all, int64_t expert) {
        return all[static_cast<size_t>(layer * heat.experts + expert)];
      };
      uint64_t uses = 0;
      int64_t resident = 0;
      for (int64_t expert = 0; expert < heat.experts; ++expert) {
        uses += at(heat.uses, expert);
        resident += at(heat.states, expert) == ExpertState::resident ? 1 : 0;
      }
      // In the last layer only the tokens whose logits are wanted.
      const size_t tokens = (layer + 1 < heat.layers ? std::size(kLossyPrompt) : 1) + 1;
      EXPECT_EQ(uses, tokens * used) << layer;
      const auto last = sequence->last_experts().subspan(static_cast<size_t>(layer) * used, used);
      for (const int32_t chosen : last) EXPECT_EQ(at(heat.last, chosen), 1) << layer;
      if (slots < 0) {
        EXPECT_EQ(resident, heat.experts);
      } else {
        EXPECT_GE(resident, static_cast<int64_t>(used));
        EXPECT_LT(resident, heat.experts);
      }
    }
    EXPECT_EQ(heat.hits + heat.misses > 0, slots >= 0);
  }
}

TEST(LossyModes, BadValuesAreRefusedBeforeAFileIsOpened) {
  for (const float bad : {-1.0f, 2.0f, std::nanf("")}) {
    EngineOptions options = {.model = "nowhere.gguf"};
    options.cache_prior = bad;
    EXPECT_EQ(Engine::open(options).error().code, ErrorCode::invalid_argument) << bad;
  }
}

// With 3 of 8 experts kept. How much a mode costs hangs on the moment; that it costs something, and no more than half,
// does not.
TEST(LossyModes, PriceOnTheDemoModel) {
  const std::filesystem::path data = std::filesystem::path(source_dir()) / "tests/data/models";
  std::ifstream in(data / "tinystories-valid-24.txt", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EngineOptions options = {
      .model = (data / "stories260k-moe8").string(), .ctx_size = 256, .expert_slots = 3, .lookahead = "off"};
  const auto perplexity_of = [&](const EngineOptions& some, bool single_tokens) {
    const auto engine = test::open_engine(some).value();
    const auto ids = engine->tokenize(text, true, false).value();
    const auto sequence = engine->new_sequence().value();
    const auto result =
        measure_perplexity(*engine, *sequence, ids, {.chunk_tokens = 256, .chunks = 2, .single_tokens = single_tokens});
    return result.value().perplexity;
  };
  const double exact = perplexity_of(options, false);
  EXPECT_NEAR(perplexity_of(options, true), exact, 1e-9 * exact);
  for (const int mode : {0, 1, 2}) {
    EngineOptions lossy = options;
    lossy.skip_missing = mode == 0;
    lossy.cache_prior = mode == 1 ? 0.5f : 0;
    lossy.top1_threshold = mode == 2 ? 0.3f : 0;
    const double price = perplexity_of(lossy, true) / exact - 1;
    EXPECT_NE(price, 0) << mode;
    EXPECT_GT(price, -0.05) << mode;
    EXPECT_LT(price, 0.5) << mode;
  }
}

}  // namespace
}  // namespace moxie

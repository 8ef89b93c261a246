// Residency never changes the answer: logits are the same bits however few experts are kept, whatever the policy, the
// guesses, the reads and the container.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "core/fail.h"
#include "golden/golden_models.h"
#include "store/replay.h"
#include "support/paths.h"

namespace moxie {
namespace {

const std::vector<int32_t> kResidencyPrompt = {1, 5, 9, 2, 7, 30, 11, 4, 6, 3, 17, 8};

// Logits of the prompt's every position and of 24 steps after it, each step taking the likeliest token.
Result<std::vector<float>> streamed_logits(EngineOptions options, ExpertStats* stats = nullptr) {
  options.threads = 2;
  MOXIE_TRY(auto engine, Engine::open(options));
  MOXIE_TRY(auto sequence, engine->new_sequence());
  std::vector<float> all;
  const auto keep = [&](int64_t, std::span<const float> logits) {
    all.insert(all.end(), logits.begin(), logits.end());
  };
  MOXIE_TRY_VOID(sequence->append(kResidencyPrompt, keep));
  for (int step = 0; step < 24; ++step) {
    const std::span<const float> logits = sequence->logits();
    const int32_t id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    MOXIE_TRY_VOID(sequence->append({&id, 1}, keep));
  }
  if (stats != nullptr) *stats = engine->expert_stats();
  return all;
}

class Residency : public ::testing::TestWithParam<const char*> {
 protected:
  EngineOptions options() const { return {.model = (golden::data_folder() / "golden" / GetParam()).string()}; }
};

TEST_P(Residency, AnyNumberOfKeptExperts) {
  const auto resident = streamed_logits(options());
  ASSERT_TRUE(resident.ok()) << resident.error().message;
  for (const int64_t slots : {0, 2, 3, 4, 6, 8, 64}) {
    EngineOptions some = options();
    some.expert_slots = slots;
    ExpertStats stats;
    const auto streamed = streamed_logits(some, &stats);
    if (!streamed.ok() && streamed.error().code == ErrorCode::invalid_argument)
      continue;  // fewer than the model uses at once
    ASSERT_TRUE(streamed.ok()) << streamed.error().message;
    EXPECT_TRUE(golden::same_bits(*resident, *streamed)) << slots;
    EXPECT_GT(stats.hits + stats.misses, 0u);
  }
}

TEST_P(Residency, AnyPolicyGuessesAndReads) {
  const auto resident = streamed_logits(options());
  ASSERT_TRUE(resident.ok()) << resident.error().message;
  const auto expect_same = [&](const EngineOptions& changed, const std::string& what) {
    const auto streamed = streamed_logits(changed);
    ASSERT_TRUE(streamed.ok()) << what << ": " << streamed.error().message;
    EXPECT_TRUE(golden::same_bits(*resident, *streamed)) << what;
  };
  EngineOptions some = options();
  some.expert_slots = 4;
  for (const char* policy : {"lru", "lfu", "lfru", "class_lru", "lcp", "lcp_retained", "static"}) {
    some.policy = policy;
    expect_same(some, policy);
  }
  for (const char* lookahead : {"off", "on", "auto"}) {
    some.lookahead = lookahead;
    for (const int depth : {1, 2, 8}) {
      some.io_depth = depth;
      for (const char* backend : {"threads", "auto"}) {
        some.io_backend = backend;
        expect_same(some, std::string(lookahead) + " " + std::to_string(depth) + " " + backend);
      }
    }
  }
  some.direct_io = false;
  expect_same(some, "through the page cache");
  // A prompt in parts, and a layer's blocks in parts of a prompt.
  some.ubatch_size = 4;
  expect_same(some, "chunks of 4");
  some.batch_size = 5;
  expect_same(some, "batches of 5");
}

INSTANTIATE_TEST_SUITE_P(Containers, Residency,
                         ::testing::Values("mixtral/merged.gguf", "mixtral/split.gguf", "mixtral/q8_0.gguf",
                                           "qwen2_moe/merged.gguf"));

TEST(PromptLargerThanThePool, ReadsTheFileOnce) {
  // A whole prompt passes a layer before the next: however few experts stay, each is read once for all of its tokens.
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 300; ++i) prompt.push_back(300 + i * 7919 % 3700);
  for (const int slots : {0, 2, 4}) {
    auto engine =
        Engine::open({.model = source_dir() + "/models/demo", .ubatch_size = 64, .expert_slots = slots}).value();
    auto sequence = engine->new_sequence().value();
    ASSERT_TRUE(sequence->append(prompt, [](int64_t, std::span<const float>) {}).ok());
    const ExpertStats stats = engine->expert_stats();
    // Nothing is read twice; whole blocks of 4 KiB are a little more than the weights.
    EXPECT_GE(stats.bytes_read, engine->model().weight_bytes) << slots;
    EXPECT_LE(stats.bytes_read, engine->model().weight_bytes * 104 / 100) << slots;
    EXPECT_GE(stats.misses, static_cast<uint64_t>(engine->model().layers * engine->model().experts)) << slots;
  }
}

TEST(PromptLargerThanThePool, LeavesOutTheLastLayersOtherExperts) {
  // Where the last token's logits alone are wanted, the last layer's experts are read for that token alone.
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 300; ++i) prompt.push_back(300 + i * 7919 % 3700);
  for (const char* lookahead : {"off", "on"}) {
    for (const int64_t batch : {64, 2048}) {
      auto engine = Engine::open({.model = source_dir() + "/models/demo",
                                  .batch_size = batch,
                                  .ubatch_size = 64,
                                  .expert_slots = 4,
                                  .lookahead = lookahead})
                        .value();
      auto sequence = engine->new_sequence().value();
      ASSERT_TRUE(sequence->append(prompt).ok());
      const ExpertStats stats = engine->expert_stats();
      const auto last = static_cast<size_t>(engine->model().layers - 1);
      for (size_t layer = 0; layer < last; ++layer) {
        EXPECT_GE(stats.layer_misses[layer], static_cast<uint64_t>(engine->model().experts)) << layer;
      }
      EXPECT_EQ(stats.layer_misses[last], static_cast<uint64_t>(engine->model().experts_used));
    }
  }
}

TEST(RoutingTraceOfARun, ReplayCountsWhatTheStoreCounted) {
  const std::string trace = (std::filesystem::path(::testing::TempDir()) / "moxie-residency.trace.tsv").string();
  for (const int slots : {2, 3, 5}) {
    for (const PolicyEntry* entry : policy_entries()) {
      const std::string policy(entry->name);
      EngineOptions options = {.model = (golden::data_folder() / "golden/mixtral/merged.gguf").string(),
                               .expert_slots = slots,
                               .policy = policy,
                               .lookahead = "on",
                               .trace_routing = trace};
      ExpertStats stats;
      ASSERT_TRUE(streamed_logits(options, &stats).ok());
      const auto recorded = read_routing_trace(trace);
      ASSERT_TRUE(recorded.ok()) << recorded.error().message;
      const auto layers = replay(*recorded, *find_policy(policy), slots);
      ASSERT_EQ(layers.size(), stats.layer_hits.size());
      for (size_t layer = 0; layer < layers.size(); ++layer) {
        EXPECT_EQ(layers[layer].total().hits, stats.layer_hits[layer]) << policy << " " << slots << " layer " << layer;
        EXPECT_EQ(layers[layer].total().misses, stats.layer_misses[layer])
            << policy << " " << slots << " layer " << layer;
      }
    }
  }
  std::filesystem::remove(trace);
}

}  // namespace
}  // namespace moxie

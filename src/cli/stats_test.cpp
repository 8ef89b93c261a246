#include "cli/stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace moxie::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;

RunStats some_run() {
  RunStats stats;
  stats.load_seconds = 2;
  stats.first_token_seconds = 0.5;
  stats.prompt_tokens = 30;
  stats.prompt_seconds = 3;
  stats.generated_tokens = 10;
  stats.generate_seconds = 5;
  stats.seed = 7;
  stats.reason = StopReason::length;
  stats.context_shifts = 1;
  stats.experts.streaming = true;
  stats.experts.hits = 11;
  stats.experts.misses = 13;
  stats.experts.bytes_read = 17;
  stats.experts.stall_seconds = 0.019;
  stats.experts.disk_busy_seconds = 4;
  stats.experts.lookahead_useful = 23;
  stats.experts.lookahead_wasted = 29;
  stats.experts.lookahead_late = 31;
  stats.experts.slots_per_layer = 2.5;
  stats.experts.layer_hits = {5, 6};
  stats.experts.layer_misses = {13, 0};
  stats.experts.reads = "one way";
  stats.memory = {.budget = 1000, .dense = 1, .kv = 2, .activations = 3, .process = 4, .reserve = 5, .experts = 6};
  stats.heat.layers = 2;
  stats.heat.experts = 3;
  stats.heat.uses = {1, 2, 3, 4, 5, 6};
  return stats;
}

json expected_run() {
  return {{"mode", "exact"},
          {"load_ms", 2000.0},
          {"ttft_ms", 500.0},
          {"prompt_tokens", 30},
          {"prompt_tokens_per_s", 10.0},
          {"generated_tokens", 10},
          {"generated_tokens_per_s", 2.0},
          {"seed", 7},
          {"stop", "length"},
          {"context_shifts", 1},
          {"expert_hits", 11},
          {"expert_misses", 13},
          {"bytes_read", 17},
          {"stall_ms", 19.0},
          {"disk_busy_share", 0.4},
          {"lookahead_useful", 23},
          {"lookahead_wasted", 29},
          {"lookahead_late", 31},
          {"memory_budget_bytes", 1000},
          {"memory_planned_bytes", 21},
          {"slots_per_layer", 2.5},
          {"layer_hits", {5, 6}},
          {"layer_misses", {13, 0}},
          {"reads", "one way"},
          {"expert_uses", {{1, 2, 3}, {4, 5, 6}}}};
}

// Every key with its value: a program that reads them finds these and no others.
TEST(Stats, JsonHasEveryFigureUnderItsName) {
  json found = json::parse(stats_text(some_run(), StatsForm::json));
  EXPECT_GT(found.value("rss_peak_bytes", uint64_t{0}), 0u);
  found.erase("rss_peak_bytes");
  EXPECT_EQ(found, expected_run());
}

TEST(Stats, JsonNamesWhatLossyModesDid) {
  RunStats stats = some_run();
  stats.experts.mode = "cache-prior=0.5,skip-missing";
  stats.experts.lossy_accesses = 40;
  stats.experts.lossy_changed = 10;
  stats.experts.lossy_weight_share = 0.125;
  stats.experts.lossy_modes = {{"cache-prior=0.5", 4, 0.0625}, {"skip-missing", 6, 0.0625}};
  json found = json::parse(stats_text(stats, StatsForm::json));
  found.erase("rss_peak_bytes");
  json expected = expected_run();
  expected["mode"] = "cache-prior=0.5,skip-missing";
  expected["lossy_accesses"] = 40;
  expected["lossy_changed"] = 10;
  expected["lossy_weight_share"] = 0.125;
  expected["lossy_modes"] = {{{"mode", "cache-prior=0.5"}, {"changed", 4}, {"weight_share", 0.0625}},
                             {{"mode", "skip-missing"}, {"changed", 6}, {"weight_share", 0.0625}}};
  EXPECT_EQ(found, expected);
}

TEST(Stats, TextSaysTheSameToPeople) {
  const std::string text = stats_text(some_run(), StatsForm::text);
  EXPECT_THAT(text, HasSubstr("prompt 30 tokens, 10.0 tokens/s"));
  EXPECT_THAT(text, HasSubstr("generated 10 tokens, 2.0 tokens/s"));
  EXPECT_THAT(text, HasSubstr("2.5 kept per layer: 45.8 % hits of 24, 13 misses"));
  EXPECT_THAT(text, HasSubstr("disk busy 40 %"));
  EXPECT_THAT(text, HasSubstr("23 useful, 31 late, 29 wasted"));
  EXPECT_THAT(text, HasSubstr("hits by layer, %: 28 100\n"));
  EXPECT_EQ(stats_text(some_run(), StatsForm::none), "");
}

}  // namespace
}  // namespace moxie::cli

#include "cli/bench_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace moxie::cli {
namespace {

using testing::HasSubstr;

Measurement generation() {
  return {.tokens = 64,
          .depth = 4096,
          .threads = 2,
          .threads_why = "2 threads as asked",
          .cache_type = "f16",
          .rates = {8, 10, 14},
          .bytes = 1000,
          .integer_products = 500,
          .float_products = 100,
          .limits = {.memory = {15e3, 18e3, 20e3}, .integer_products = {90e3, 100e3}, .float_products = {20e3}}};
}

TEST(BenchReport, MedianOfOddAndEvenCounts) {
  EXPECT_EQ(median({5}), 5);
  EXPECT_EQ(median({1, 2, 9}), 2);
  EXPECT_EQ(median({1, 2, 4, 9}), 3);
}

// The limit is that of the best pass, and the tighter of memory and arithmetic.
TEST(BenchReport, ShareOfTheTighterLimit) {
  Measurement one = generation();
  EXPECT_EQ(one.name(), "tg64 @ d4096");
  EXPECT_DOUBLE_EQ(one.by_memory(), 20);
  EXPECT_DOUBLE_EQ(one.by_arithmetic(), 1 / (500 / 100e3 + 100 / 20e3));
  EXPECT_TRUE(one.memory_bound());
  EXPECT_DOUBLE_EQ(one.share(), 0.5);
  EXPECT_DOUBLE_EQ(one.bytes_per_second(), 10e3);
  EXPECT_DOUBLE_EQ(one.operations_per_second(), 2 * 10 * 600);
  one.float_products = 1000;  // now arithmetic takes longer than reading
  EXPECT_FALSE(one.memory_bound());
  EXPECT_DOUBLE_EQ(one.limit(), 1 / (500 / 100e3 + 1000 / 20e3));
}

// Where a budget leaves no room to measure memory, nothing is said of it.
TEST(BenchReport, MemoryThatWasNotMeasured) {
  BenchReport report = {.repetitions = 3, .measurements = {generation()}};
  EXPECT_THAT(report.markdown(), HasSubstr("| memory"));
  EXPECT_TRUE(nlohmann::json::parse(report.json())[0].contains("memory_bytes_per_s"));
  report.measurements[0].limits.memory.clear();
  EXPECT_FALSE(report.measurements[0].memory_bound());
  EXPECT_DOUBLE_EQ(report.measurements[0].limit(), report.measurements[0].by_arithmetic());
  EXPECT_THAT(report.markdown(), HasSubstr("memory not measured"));
  EXPECT_FALSE(nlohmann::json::parse(report.json())[0].contains("memory_bytes_per_s"));
}

TEST(BenchReport, PromptsAreLimitedByArithmetic) {
  Measurement one = generation();
  one.prompt = true;
  one.tokens = 512;
  one.depth = 0;
  one.bytes = 0;
  EXPECT_EQ(one.name(), "pp512");
  EXPECT_FALSE(one.memory_bound());
  EXPECT_DOUBLE_EQ(one.limit(), 100);
  EXPECT_DOUBLE_EQ(one.share(), 0.1);
}

TEST(BenchReport, ReadsAndHitsWhereExpertsStream) {
  BenchReport report = {.repetitions = 3, .measurements = {generation()}};
  EXPECT_EQ(report.markdown().find("from disk"), std::string::npos);
  EXPECT_FALSE(nlohmann::json::parse(report.json())[0].contains("expert_hits"));
  Measurement& one = report.measurements[0];
  one.mode = "skip-missing";
  one.streaming = true;
  one.disk_bytes = 64 * 3 * 1024;
  one.hits = 3;
  one.misses = 1;
  EXPECT_THAT(report.markdown(), testing::AllOf(HasSubstr("from disk per token"), HasSubstr("skip-missing"),
                                                HasSubstr("1.0 KiB"), HasSubstr("75.0 %")));
  EXPECT_EQ(nlohmann::json::parse(report.json())[0]["disk_bytes_per_token"], 1024.0);
  one.depth = 0;  // one token more is computed for each repetition
  one.disk_bytes = 65 * 3 * 2048;
  EXPECT_EQ(one.disk_bytes_per_token(), 2048);
}

TEST(BenchReport, Json) {
  const BenchReport report = {.cpu_target = "avx2", .version = "1.2", .repetitions = 3, .measurements = {generation()}};
  const auto list = nlohmann::json::parse(report.json());
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["test"], "tg64 @ d4096");
  EXPECT_EQ(list[0]["n_prompt"], 0);
  EXPECT_EQ(list[0]["n_gen"], 64);
  EXPECT_EQ(list[0]["n_depth"], 4096);
  EXPECT_EQ(list[0]["tokens_per_s"], 10.0);
  EXPECT_EQ(list[0]["tokens_per_s_all"], (std::vector<double>{8, 10, 14}));
  EXPECT_EQ(list[0]["bytes_per_s"], 10e3);
  EXPECT_EQ(list[0]["memory_bytes_per_s"], 20e3);
  EXPECT_EQ(list[0]["int8_ops_per_s_all"], (std::vector<double>{180e3, 200e3}));
  EXPECT_EQ(list[0]["float_ops_per_s"], 40e3);
  EXPECT_EQ(list[0]["limit"], "memory");
  EXPECT_EQ(list[0]["share"], 0.5);
  EXPECT_EQ(list[0]["version"], "1.2");
}

TEST(BenchReport, MarkdownShowsTheMachineOncePerThreads) {
  BenchReport report = {
      .head = "a model", .repetitions = 3, .measurements = {generation(), generation(), generation()}};
  report.measurements[2].threads = 4;
  report.measurements[2].threads_why = "4 threads: 4 physical cores";
  const std::string text = report.markdown();
  EXPECT_THAT(text, HasSubstr("a model\n"));
  EXPECT_THAT(text, HasSubstr("Medians of 3."));
  EXPECT_THAT(text, HasSubstr("\n2 threads as asked; memory 0.00 (0.00 - 0.00) GiB/s"));
  EXPECT_THAT(text, HasSubstr("\n4 threads: 4 physical cores; memory"));
  EXPECT_EQ(text.find("2 threads as"), text.rfind("2 threads as"));
  EXPECT_EQ(text.find("KV"), std::string::npos);
  EXPECT_EQ(text.find("100 %"), std::string::npos);
  report.measurements[1].cache_type = "q8_0";
  report.measurements[1].rates = {50};
  EXPECT_THAT(report.markdown(), testing::AllOf(HasSubstr("KV"), HasSubstr("q8_0"), HasSubstr("A share above 100 %")));
}

}  // namespace
}  // namespace moxie::cli

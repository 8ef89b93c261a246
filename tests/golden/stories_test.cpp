// The small story models: real weights, real text, a float64 reference run. The dense one comes as GGUF (written by a
// script here), the mixture as safetensors with a tokenizer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "golden/golden_models.h"
#include "support/paths.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

nlohmann::json read_json(const fs::path& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

double negative_log_likelihood(Engine& engine, const std::vector<int32_t>& ids) {
  auto sequence = engine.new_sequence();
  EXPECT_TRUE(sequence.ok());
  double sum = 0;
  const auto done = (*sequence)->append(ids, [&](int64_t position, std::span<const float> logits) {
    if (position + 1 >= static_cast<int64_t>(ids.size())) return;
    const double top = *std::max_element(logits.begin(), logits.end());
    double total = 0;
    for (const float logit : logits) total += std::exp(logit - top);
    sum += top + std::log(total) - logits[static_cast<size_t>(ids[static_cast<size_t>(position) + 1])];
  });
  EXPECT_TRUE(done.ok()) << done.error().message;
  return sum;
}

void expect_cases(Engine& engine, const nlohmann::json& golden) {
  for (const auto& c : golden.at("cases")) {
    const std::vector<int32_t> prompt = c.at("prompt_ids"), greedy_ids = c.at("greedy_ids");
    const std::string text = c.at("prompt");
    if (!text.empty()) {
      const auto ids = engine.tokenize(text, true, false);
      ASSERT_TRUE(ids.ok()) << ids.error().message;
      EXPECT_EQ(*ids, prompt) << text;
    }
    auto sequence = engine.new_sequence();
    ASSERT_TRUE(sequence.ok());
    ASSERT_TRUE((*sequence)->append(prompt).ok());
    const std::vector<double> expected = c.at("last_logits");
    const auto [low, high] = std::minmax_element(expected.begin(), expected.end());
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR((*sequence)->logits()[i], expected[i], 1e-4 * (*high - *low)) << text << ", logit " << i;
    }
    auto fresh = engine.new_sequence();
    GenerateOptions options;
    options.max_tokens = static_cast<int64_t>(greedy_ids.size());
    options.sampling.temp = 0;
    const auto result = (*fresh)->generate(prompt, options);
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(result->ids, greedy_ids) << text;
    // The golden text may count the prompt in; what was generated must be its end.
    const std::string golden_text = c.at("greedy_text");
    EXPECT_TRUE(golden_text.ends_with(result->text)) << result->text << "\n--- expected:\n" << golden_text;
    EXPECT_GT(result->text.size(), 100u);
  }
}

void expect_perplexity(Engine& engine, const nlohmann::json& golden) {
  const auto& expected = golden.at("perplexity_tinystories_valid");
  const auto& per_document = expected.at("per_document_tokens_nll");
  const std::vector<std::string> texts = golden::held_out_documents();
  ASSERT_EQ(texts.size(), per_document.size());
  double sum = 0;
  int64_t tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    auto ids = engine.tokenize(texts[i], true, false);
    ASSERT_TRUE(ids.ok());
    if (ids->size() > 512) ids->resize(512);
    const double nll = negative_log_likelihood(engine, *ids);
    EXPECT_EQ(static_cast<int64_t>(ids->size()) - 1, per_document[i][0].get<int64_t>()) << "document " << i;
    EXPECT_NEAR(nll, per_document[i][1].get<double>(), 0.01) << "document " << i;
    sum += nll;
    tokens += static_cast<int64_t>(ids->size()) - 1;
  }
  EXPECT_EQ(tokens, expected.at("tokens_scored").get<int64_t>());
  EXPECT_NEAR(std::exp(sum / static_cast<double>(tokens)), expected.at("perplexity").get<double>(), 1e-3);
}

TEST(StoryMixture, LogitsTextAndExperts) {
  const fs::path folder = golden::data_folder() / "models" / "stories260k-moe8";
  auto engine = test::open_engine({.model = folder.string(), .cache_type = "f32"});
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  const nlohmann::json golden = read_json(folder / "golden.json");
  expect_cases(**engine, golden);
  for (const auto& c : golden.at("cases")) {
    const std::vector<int32_t> prompt = c.at("prompt_ids");
    auto sequence = (*engine)->new_sequence();
    for (size_t t = 0; t < prompt.size(); ++t) {
      ASSERT_TRUE((*sequence)->append(std::span(prompt).subspan(t, 1)).ok());
      std::vector<int32_t> expected;
      for (const auto& layer : c.at("experts")[t]) {
        for (const auto& id : layer) expected.push_back(id);
      }
      const auto found = (*sequence)->last_experts();
      EXPECT_EQ(std::vector<int32_t>(found.begin(), found.end()), expected) << "token " << t;
    }
  }
}

TEST(StoryMixture, PerplexityOfEveryDocument) {
  const fs::path folder = golden::data_folder() / "models" / "stories260k-moe8";
  auto engine = test::open_engine({.model = folder.string(), .cache_type = "f32"});
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  expect_perplexity(**engine, read_json(folder / "golden.json"));
}

TEST(StoryMixture, SeededTextIsTheSameForAnyThreadsAndBatch) {
  const fs::path folder = golden::data_folder() / "models" / "stories260k-moe8";
  std::vector<int32_t> first;
  for (const auto& [threads, ubatch] : std::vector<std::pair<int, int64_t>>{{1, 512}, {2, 3}, {8, 1}}) {
    auto engine = test::open_engine({.model = folder.string(), .threads = threads, .ubatch_size = ubatch});
    ASSERT_TRUE(engine.ok());
    auto sequence = (*engine)->new_sequence();
    GenerateOptions options;
    options.max_tokens = 60;
    options.sampling.seed = 7;
    const auto result = (*sequence)->generate(*(*engine)->tokenize("Once upon a time", true, false), options);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->seed, 7u);
    if (first.empty()) first = result->ids;
    EXPECT_EQ(result->ids, first) << threads << " threads, ubatch " << ubatch;
  }
  EXPECT_EQ(first.size(), 60u);
}

TEST(StoryDense, AsGguf) {
  const fs::path folder = golden::data_folder() / "models" / "stories260k";
  const fs::path out = fs::path(testing::TempDir()) / "stories260k.gguf";
  const std::string command = "python3 " + (fs::path(source_dir()) / "tools" / "llama2c_to_gguf.py").string() + " " +
                              (folder / "stories260K.bin").string() + " " + (folder / "tok512.bin").string() + " " +
                              out.string() + " > /dev/null 2>&1";
  if (std::system("python3 --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "python3 is not installed";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  auto engine = test::open_engine({.model = out.string(), .cache_type = "f32"});
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  EXPECT_EQ((*engine)->model().family, "llama");
  const nlohmann::json golden = read_json(folder / "golden.json");
  expect_cases(**engine, golden);
  expect_perplexity(**engine, golden);
  fs::remove(out);
}

}  // namespace
}  // namespace moxie

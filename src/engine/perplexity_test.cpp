#include "engine/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "support/paths.h"

namespace moxie {
namespace {

TEST(Perplexity, LikelihoodIsThatOfTheSoftmax) {
  const std::vector<float> logits = {1.0f, 2.0f, -3.0f};
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(-3.0);
  EXPECT_NEAR(negative_log_likelihood(logits, 0), -std::log(std::exp(1.0) / sum), 1e-12);
  EXPECT_NEAR(negative_log_likelihood(logits, 2), -std::log(std::exp(-3.0) / sum), 1e-12);
  const std::vector<float> large = {1000.0f, 0.0f};
  EXPECT_NEAR(negative_log_likelihood(large, 0), 0, 1e-12);
  EXPECT_NEAR(negative_log_likelihood(large, 1), 1000, 1e-9);
}

class PerplexityOfStories : public testing::Test {
 protected:
  void SetUp() override {
    const std::string models = source_dir() + "/tests/data/models/";
    auto opened = Engine::open({.model = models + "stories260k-moe8", .threads = 1});
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    engine_ = std::move(opened).value();
    auto sequence = engine_->new_sequence();
    ASSERT_TRUE(sequence.ok());
    sequence_ = std::move(sequence).value();
    std::ifstream in(models + "tinystories-valid-24.txt");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    auto ids = engine_->tokenize(text.substr(0, 3000), true, false);
    ASSERT_TRUE(ids.ok());
    ids_ = std::move(ids).value();
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Sequence> sequence_;
  std::vector<int32_t> ids_;
};

// The method, step by step over the public API: chunk by chunk, token by token, each chunk begun with BOS, its second
// half scored.
TEST_F(PerplexityOfStories, ScoresTheSecondHalfOfEachChunk) {
  constexpr int64_t kChunk = 64;
  std::vector<double> losses;
  for (int64_t chunk = 0; chunk < 3; ++chunk) {
    ASSERT_TRUE(sequence_->truncate(0).ok());
    for (int64_t i = 0; i + 1 < kChunk; ++i) {
      const int32_t id = i == 0 ? engine_->bos() : ids_[static_cast<size_t>(chunk * kChunk + i)];
      ASSERT_TRUE(sequence_->append(std::span(&id, 1)).ok());
      if (i < kChunk / 2) continue;
      double sum = 0;
      for (const float logit : sequence_->logits()) sum += std::exp(static_cast<double>(logit));
      const int32_t next = ids_[static_cast<size_t>(chunk * kChunk + i + 1)];
      losses.push_back(std::log(sum) - sequence_->logits()[static_cast<size_t>(next)]);
    }
  }
  double mean = 0, squares = 0;
  for (const double loss : losses) mean += loss / static_cast<double>(losses.size());
  for (const double loss : losses) squares += (loss - mean) * (loss - mean);
  const auto count = static_cast<double>(losses.size());

  int64_t calls = 0;
  const auto result = measure_perplexity(*engine_, *sequence_, ids_, {.chunk_tokens = kChunk, .chunks = 3},
                                         [&](const PerplexityResult& running) { return ++calls == running.chunks; });
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(result->tokens, static_cast<int64_t>(losses.size()));
  EXPECT_EQ(result->tokens, 3 * (kChunk / 2 - 1));
  EXPECT_NEAR(result->mean_nll, mean, 1e-4);
  EXPECT_NEAR(result->perplexity, std::exp(mean), 1e-3);
  EXPECT_NEAR(result->error, std::exp(mean) * std::sqrt(squares / count / (count - 1)), 1e-3);
}

TEST_F(PerplexityOfStories, SaysWhatDoesNotFit) {
  const auto error = [&](std::span<const int32_t> ids, PerplexityOptions options) {
    return measure_perplexity(*engine_, *sequence_, ids, options).error();
  };
  EXPECT_EQ(error(ids_, {.chunk_tokens = 2}).code, ErrorCode::invalid_argument);
  EXPECT_EQ(error(ids_, {.chunk_tokens = 100000}).code, ErrorCode::invalid_argument);
  EXPECT_EQ(error(std::span(ids_).first(100), {.chunk_tokens = 128}).message,
            "the text has 100 tokens, fewer than one chunk of 128; give a longer one or a smaller -c");
  const auto stopped =
      measure_perplexity(*engine_, *sequence_, ids_, {.chunk_tokens = 64}, [](const auto&) { return false; });
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace moxie

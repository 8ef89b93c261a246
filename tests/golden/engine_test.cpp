// The engine as its callers use it: context limits, stops, cancelling, several sequences, rolling back.
#include <gtest/gtest.h>

#include <thread>

#include "golden/golden_models.h"

namespace moxie {
namespace {

std::string story_model() {
  return (golden::data_folder() / "models" / "stories260k-moe8").string();
}

class EngineTest : public testing::Test {
 protected:
  std::unique_ptr<Engine> open(EngineOptions options = {}) {
    options.model = story_model();
    options.threads = 2;
    auto engine = test::open_engine(options);
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    return std::move(engine).value();
  }
  static GenerateOptions greedy(int64_t tokens) {
    GenerateOptions options;
    options.max_tokens = tokens;
    options.sampling.temp = 0;
    return options;
  }
};

TEST_F(EngineTest, TellsWhatItOpened) {
  auto engine = open();
  EXPECT_EQ(engine->model().family, "mixtral");
  EXPECT_EQ(engine->model().experts, 8);
  EXPECT_EQ(engine->model().experts_used, 2);
  EXPECT_EQ(engine->runtime().context_tokens, 512);
  EXPECT_EQ(engine->runtime().threads, 2);
  EXPECT_EQ(engine->runtime().kv_bytes_per_token, 5u * 2 * 4 * 8 * 2);
  EXPECT_EQ(engine->bos(), 1);
  EXPECT_TRUE(engine->adds_bos());
  // 5 layers, of whose experts a quarter is read, and the output matrix.
  EXPECT_LT(engine->model().active_bytes_per_token, engine->model().weight_bytes / 2);
  const ModelInfo& model = engine->model();
  const int64_t output = model.vocabulary * model.hidden;
  const auto sum = [](uint64_t a, uint64_t b, uint64_t c) { return static_cast<int64_t>(a + b + c); };
  const int64_t of_layers = sum(model.integer_products, model.float_products, model.bf16_products) - output;
  EXPECT_GT(of_layers, 0);
  EXPECT_EQ(of_layers % model.layers, 0);
  // Every token computes keys and values of the last layer too: 4 heads of 8 each.
  const int64_t keys_values = 2 * 4 * 8 * model.hidden;
  EXPECT_EQ(sum(model.output_integer_products, model.output_float_products, model.output_bf16_products),
            output + of_layers / model.layers - keys_values);
}

TEST_F(EngineTest, FullContextEndsTheAnswerAndSaysSo) {
  auto engine = open({.ctx_size = 40});
  auto sequence = engine->new_sequence().value();
  const auto result = sequence->generate(*engine->tokenize("Once upon a time", true, false), greedy(-1));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, StopReason::context_full);
  // The last id was sampled but has no place of its own any more.
  EXPECT_EQ(static_cast<int64_t>(result->ids.size()) + result->prompt_tokens, 41);
}

TEST_F(EngineTest, PromptLongerThanTheContextIsRefusedWithBothNumbers) {
  auto engine = open({.ctx_size = 16});
  auto sequence = engine->new_sequence().value();
  const std::vector<int32_t> ids(17, 5);
  const auto result = sequence->generate(ids, greedy(1));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(result.error().message.find("17 tokens"), std::string::npos);
  EXPECT_NE(result.error().message.find("holds 16"), std::string::npos);
  EXPECT_TRUE(sequence->ids().empty());
}

TEST_F(EngineTest, ContextShiftGoesOnAsIfTheRestWereThePrompt) {
  auto engine = open({.ctx_size = 64});
  auto sequence = engine->new_sequence().value();
  GenerateOptions options = greedy(150);
  options.context_shift = true;
  options.keep = 5;
  const std::vector<int32_t> prompt = *engine->tokenize("Once upon a time, there was a dog", true, false);
  const auto result = sequence->generate(prompt, options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->ids.size(), 150u);
  EXPECT_GE(result->context_shifts, 3);
  EXPECT_LE(sequence->ids().size(), 64u);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(sequence->ids()[i], prompt[i]);
  // What stands in the context now gives the same logits in a fresh sequence.
  auto fresh = engine->new_sequence().value();
  ASSERT_TRUE(fresh->append(sequence->ids()).ok());
  EXPECT_TRUE(std::equal(fresh->logits().begin(), fresh->logits().end(), sequence->logits().begin()));
}

TEST_F(EngineTest, StopTextEndsTheAnswerBeforeIt) {
  auto engine = open();
  auto sequence = engine->new_sequence().value();
  GenerateOptions options = greedy(100);
  options.stop = {"named Lily"};
  std::string streamed;
  const auto result =
      sequence->generate(*engine->tokenize("Once upon a time", true, false), options, [&](const TokenEvent& event) {
        streamed += event.text;
        return true;
      });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, StopReason::stop_text);
  EXPECT_EQ(streamed, ", there was a little girl ");
  EXPECT_EQ(result->text, streamed);
}

TEST_F(EngineTest, CallbackAndCancelEndTheAnswer) {
  auto engine = open();
  auto sequence = engine->new_sequence().value();
  const auto prompt = *engine->tokenize("Once upon a time", true, false);
  int count = 0;
  auto result = sequence->generate(prompt, greedy(100), [&](const TokenEvent&) { return ++count < 5; });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, StopReason::caller);
  EXPECT_EQ(result->ids.size(), 5u);

  auto other = engine->new_sequence().value();
  result = other->generate(prompt, greedy(400), [&](const TokenEvent&) {
    other->cancel();
    return true;
  });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, StopReason::cancelled);
  EXPECT_LE(result->ids.size(), 2u);
  // A cancelled sequence can go on.
  result = other->generate(prompt, greedy(3));
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->reason, StopReason::length);
}

TEST_F(EngineTest, NothingIsDrawnAfterHalfAPrompt) {
  auto engine = open({.batch_size = 8});
  auto sequence = engine->new_sequence().value();
  const std::vector<int32_t> ids(20, 5);
  ASSERT_TRUE(sequence->append(std::span(ids).first(4)).ok());
  EXPECT_FALSE(sequence->logits().empty());
  struct Canceller final : LayerObserver {
    Sequence* sequence = nullptr;
    void on_hidden(int64_t, int64_t first_position, std::span<const float>) override {
      if (first_position > 4) sequence->cancel();
    }
  } canceller;
  canceller.sequence = sequence.get();
  sequence->observe(&canceller);
  EXPECT_EQ(sequence->append(ids).error().code, ErrorCode::cancelled);
  EXPECT_EQ(sequence->ids().size(), size_t{4 + 8});  // the first part came in
  EXPECT_TRUE(sequence->logits().empty());
  EXPECT_TRUE(sequence->last_experts().empty());
  EXPECT_FALSE(sequence->generate({}, greedy(1)).ok());
  sequence->observe(nullptr);
  EXPECT_TRUE(sequence->generate(ids, greedy(1)).ok());
}

TEST_F(EngineTest, SequencesDoNotDisturbEachOther) {
  auto engine = open();
  const auto a = *engine->tokenize("Once upon a time", true, false),
             b = *engine->tokenize("The cat sat on", true, false);
  std::vector<int32_t> alone_a, alone_b, both_a, both_b;
  const auto run = [&](const std::vector<int32_t>& prompt, std::vector<int32_t>& ids) {
    auto sequence = engine->new_sequence().value();
    ids = sequence->generate(prompt, greedy(60))->ids;
  };
  run(a, alone_a);
  run(b, alone_b);
  std::thread first([&] { run(a, both_a); }), second([&] { run(b, both_b); });
  first.join();
  second.join();
  EXPECT_EQ(alone_a, both_a);
  EXPECT_EQ(alone_b, both_b);
}

TEST_F(EngineTest, TruncateRollsBack) {
  auto engine = open();
  const auto prompt = *engine->tokenize("Once upon a time, there was a little", true, false);
  auto sequence = engine->new_sequence().value();
  ASSERT_TRUE(sequence->append(prompt).ok());
  const std::vector<float> before(sequence->logits().begin(), sequence->logits().end());
  ASSERT_TRUE(sequence->append(std::vector<int32_t>{300, 301, 302}).ok());
  ASSERT_TRUE(sequence->truncate(static_cast<int64_t>(prompt.size()) - 1).ok());
  ASSERT_TRUE(sequence->append(std::span(prompt).last(1)).ok());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), sequence->logits().begin()));
  EXPECT_FALSE(sequence->truncate(1000).ok());
}

TEST_F(EngineTest, BadIdsAndOptionsAreRefused) {
  auto engine = open();
  auto sequence = engine->new_sequence().value();
  const auto outside = sequence->append(std::vector<int32_t>{1, 512});
  ASSERT_FALSE(outside.ok());
  EXPECT_NE(outside.error().message.find("token id 512"), std::string::npos);
  EXPECT_FALSE(sequence->append(std::vector<int32_t>{-1}).ok());
  EXPECT_FALSE(sequence->generate({}, greedy(3)).ok());  // nothing to continue
  for (const EngineOptions& options :
       {EngineOptions{.cache_type = "q3"}, EngineOptions{.cpu_target = "sparc"}, EngineOptions{.ubatch_size = 0}}) {
    EngineOptions with_model = options;
    with_model.model = story_model();
    EXPECT_FALSE(test::open_engine(with_model).ok());
  }
}

TEST_F(EngineTest, LoadingCanBeCancelled) {
  int calls = 0;
  const auto engine =
      test::open_engine({.model = story_model(), .mmap = false, .on_progress = [&](uint64_t done, uint64_t total) {
                           EXPECT_LE(done, total);
                           ++calls;
                           return false;
                         }});
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::cancelled);
  EXPECT_EQ(calls, 1);
}

TEST_F(EngineTest, NoticesAreSaidOnceAndKept) {
  std::vector<std::string> said;
  auto engine = open({.ctx_size = 1000, .on_log = [&](Severity severity, std::string_view text) {
                        if (severity == Severity::warning) said.emplace_back(text);
                      }});
  ASSERT_EQ(engine->notices().size(), 1u);
  EXPECT_NE(engine->notices()[0].find("1000"), std::string::npos);
  EXPECT_EQ(said, engine->notices());
}

}  // namespace
}  // namespace moxie

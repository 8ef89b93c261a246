// Many requests on one engine: every one gets the answer that it gets alone, in its turn, and leaves when it is told
// to.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <thread>

#include "golden/scheduler_fixture.h"
#include "store/replay.h"
#include "support/watchdog.h"

namespace moxie {
namespace {

using golden::alone;
using golden::Heard;
using golden::request_number;
using golden::Running;
using golden::some_ids;
using golden::submit;

std::string golden_path(const std::string& name) {
  return (golden::data_folder() / "golden" / name).string();
}

class SchedulerTest : public testing::Test {
 protected:
  void open(EngineOptions options = {}) {
    if (options.model.empty()) options.model = golden_path("mixtral/merged.gguf");
    options.threads = 1;
    auto opened = test::open_engine(options);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    engine = std::move(opened).value();
    options.on_log = {};
    options.expert_slots = -1;
    reference = test::open_engine(options).value();
    vocabulary = engine->model().vocabulary;
  }
  std::unique_ptr<Scheduler> scheduler(SchedulerOptions options = {}) {
    auto created = Scheduler::create(*engine, options);
    EXPECT_TRUE(created.ok()) << created.error().message;
    return std::move(created).value();
  }
  GenerateRequest request(int64_t prompt, int64_t tokens, unsigned seed = 1) const {
    GenerateRequest made;
    made.prompt = some_ids(prompt, vocabulary, seed);
    made.options.max_tokens = tokens;
    made.options.sampling.temp = 0;
    made.options.sampling.ignore_eos = true;
    made.options.sampling.seed = seed;
    return made;
  }

  std::unique_ptr<Engine> engine, reference;  // the same model; the second one for what a sequence alone gives
  int64_t vocabulary = 0;
  test::Watchdog watchdog;
};

void expect_same(const GenerateResult& got, const GenerateResult& wanted, const std::string& what) {
  EXPECT_EQ(got.ids, wanted.ids) << what;
  EXPECT_EQ(got.text, wanted.text) << what;
  EXPECT_EQ(got.reason, wanted.reason) << what;
  EXPECT_EQ(got.seed, wanted.seed) << what;
}

// Bit-identical, not only the same tokens: the log probabilities are compared as they are.
TEST_F(SchedulerTest, AnAnswerDoesNotDependOnItsNeighbours) {
  for (const char* model :
       {"mixtral/merged.gguf", "mixtral/q8_0.gguf", "qwen2_moe/merged.gguf", "llama-llama3/bf16.gguf"}) {
    open({.model = golden_path(model), .ctx_size = 160, .ubatch_size = 48, .parallel = 8});
    constexpr int kRequests = 12;
    std::vector<std::vector<TokenStep>> wanted;
    {
      auto one = scheduler({.parallel = 1, .prefix_cache_bytes = 0});
      for (int i = 0; i < kRequests; ++i) {
        const GenerateRequest asked = request_number(i, vocabulary, 40);
        auto running = submit(*one, asked);
        ASSERT_TRUE(running.heard->wait().ok());
        expect_same(*running.heard->wait(), alone(*reference, asked), asked.id);
        wanted.push_back(running.heard->steps());
      }
    }
    auto eight = scheduler({.parallel = 8});
    std::vector<Running> all;
    for (int i = 0; i < kRequests; ++i) all.push_back(submit(*eight, request_number(i, vocabulary, 40)));
    for (int i = 0; i < kRequests; ++i) {
      ASSERT_TRUE(all[static_cast<size_t>(i)].heard->wait().ok());
      const auto& steps = all[static_cast<size_t>(i)].heard->steps();
      const auto& expected = wanted[static_cast<size_t>(i)];
      ASSERT_EQ(steps.size(), expected.size());
      for (size_t s = 0; s < steps.size(); ++s) {
        ASSERT_EQ(steps[s].id, expected[s].id) << model << " request " << i << " token " << s;
        ASSERT_EQ(steps[s].text, expected[s].text);
        ASSERT_EQ(steps[s].logprob, expected[s].logprob) << model << " request " << i << " token " << s;
        ASSERT_EQ(steps[s].top.size(), static_cast<size_t>(i % 4));
        for (size_t p = 0; p < steps[s].top.size(); ++p) {
          ASSERT_EQ(steps[s].top[p].id, expected[s].top[p].id);
          ASSERT_EQ(steps[s].top[p].logprob, expected[s].top[p].logprob);
        }
      }
    }
    EXPECT_GT(eight->stats().step_sequences, eight->stats().steps) << "nothing was computed together";
  }
}

TEST_F(SchedulerTest, GuessesChangeNothing) {
  open({.ctx_size = 200, .ubatch_size = 64, .parallel = 4});
  uint64_t accepted = 0;
  for (const int guesses : {1, 3, 8}) {
    auto with = scheduler({.parallel = 4, .draft_ngram = guesses});
    std::vector<Running> all;
    std::vector<GenerateRequest> asked;
    for (int i = 0; i < 8; ++i) {
      GenerateRequest made = request_number(i, vocabulary, 60);
      // Text that repeats itself, so that there is something to guess.
      made.prompt = some_ids(6, vocabulary, static_cast<unsigned>(i));
      for (int again = 0; again < 3; ++again)
        made.prompt.insert(made.prompt.end(), made.prompt.begin(), made.prompt.begin() + 6);
      if (i % 2 == 0) made.options.sampling.temp = 0;
      if (i == 3) made.options.sampling.mirostat = 2;
      if (i == 5) made.options.max_tokens = -1;
      asked.push_back(made);
      all.push_back(submit(*with, made));
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const auto& result = all[i].heard->wait();
      ASSERT_TRUE(result.ok()) << result.error().message;
      expect_same(*result, alone(*reference, asked[i]), "request " + std::to_string(i));
      accepted += static_cast<uint64_t>(all[i].heard->timings().accepted_tokens);
      EXPECT_LE(all[i].heard->timings().accepted_tokens, all[i].heard->timings().drafted_tokens);
    }
  }
  EXPECT_GT(accepted, 20u);
}

// Text, stop texts and a grammar, with and without guesses.
TEST_F(SchedulerTest, TextIsThatOfASequence) {
  open({.model = (golden::data_folder() / "models" / "stories260k-moe8").string(), .parallel = 3});
  for (const int guesses : {0, 4}) {
    auto three = scheduler({.parallel = 3, .draft_ngram = guesses});
    std::vector<Running> all;
    std::vector<GenerateRequest> asked;
    for (int i = 0; i < 6; ++i) {
      GenerateRequest made;
      made.prompt = *engine->tokenize(i % 2 == 0 ? "Once upon a time" : "The dog and the cat", true, false);
      made.options.max_tokens = 80;
      made.options.sampling.seed = static_cast<uint64_t>(i);
      if (i < 3) made.options.sampling.temp = 0;
      if (i == 1) made.options.stop = {" the", "\n"};
      if (i == 2) made.options.sampling.regex = "( [a-z]+){3,12}\\.";
      if (i == 4) made.options.sampling.json_schema = R"({"type": "array", "items": {"enum": ["cat", "dog"]}})";
      asked.push_back(made);
      all.push_back(submit(*three, made));
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const auto& result = all[i].heard->wait();
      ASSERT_TRUE(result.ok()) << result.error().message;
      expect_same(*result, alone(*reference, asked[i]), std::to_string(i));
      std::string streamed;
      for (const TokenStep& step : all[i].heard->steps()) streamed += step.text;
      EXPECT_EQ(streamed, result->text);
    }
  }
}

TEST_F(SchedulerTest, WhatIsCachedIsNotComputedAgainAndChangesNothing) {
  for (const char* type : {"f16", "f32"}) {
    open({.ctx_size = 256, .cache_type = type, .ubatch_size = 40, .parallel = 2, .prefix_cache_bytes = 1 << 20});
    auto cold = Scheduler::create(*reference, {.prefix_cache_bytes = 0}).value();
    auto warm = scheduler({.parallel = 2});
    const GenerateRequest first = request_number(1, vocabulary, 30);
    GenerateRequest base = first;
    base.prompt = some_ids(150, vocabulary, 5);
    ASSERT_TRUE(submit(*warm, base).heard->wait().ok());
    for (const size_t same : {1u, 31u, 32u, 33u, 64u, 100u, 149u, 150u}) {
      GenerateRequest next = base;
      next.prompt.resize(same);
      const auto more = some_ids(20, vocabulary, static_cast<unsigned>(1000 + same));
      next.prompt.insert(next.prompt.end(), more.begin(), more.end());
      next.prompt[same] = (base.prompt[std::min<size_t>(same, 149)] + 1) % static_cast<int32_t>(vocabulary);
      auto wanted = submit(*cold, next), got = submit(*warm, next);
      ASSERT_TRUE(wanted.heard->wait().ok() && got.heard->wait().ok());
      expect_same(*got.heard->wait(), *wanted.heard->wait(), std::to_string(same));
      for (size_t t = 0; t < wanted.heard->steps().size(); ++t) {
        ASSERT_EQ(got.heard->steps()[t].logprob, wanted.heard->steps()[t].logprob) << same << " token " << t;
      }
      EXPECT_EQ(got.heard->timings().cached_tokens, static_cast<int64_t>(same));
      EXPECT_EQ(got.heard->timings().computed_tokens, 20);
      EXPECT_EQ(wanted.heard->timings().cached_tokens, 0);
    }
    // The same again: one token is computed, for its logits.
    auto again = submit(*warm, base);
    expect_same(*again.heard->wait(), alone(*reference, base), "again");
    EXPECT_EQ(again.heard->timings().computed_tokens, 1);
    EXPECT_NE(again.heard->timings().reuse.find("149 of 150"), std::string::npos) << again.heard->timings().reuse;
    // A conversation goes on: what was answered is not computed again either.
    GenerateRequest turn = base;
    const auto& answer = again.heard->wait()->ids;
    turn.prompt.insert(turn.prompt.end(), answer.begin(), answer.end());
    turn.prompt.push_back(3);
    auto second = submit(*warm, turn);
    expect_same(*second.heard->wait(), alone(*reference, turn), "second turn");
    EXPECT_GE(second.heard->timings().cached_tokens, 150 + 29);
    // Without the cache.
    turn.cache_prompt = false;
    auto without = submit(*warm, turn);
    expect_same(*without.heard->wait(), *second.heard->wait(), "without");
    EXPECT_EQ(without.heard->timings().cached_tokens, 0);
  }
}

TEST_F(SchedulerTest, TheSamePromptAtOnceIsComputedOnce) {
  open({.ctx_size = 256, .ubatch_size = 32, .parallel = 4});
  auto four = scheduler({.parallel = 4});
  std::vector<Running> all;
  for (int i = 0; i < 4; ++i) {
    GenerateRequest made = request_number(1, vocabulary, 20);
    made.prompt = some_ids(200, vocabulary, 9);
    made.options.sampling.seed = static_cast<uint64_t>(i);
    all.push_back(submit(*four, made));
  }
  int64_t computed = 0;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(all[static_cast<size_t>(i)].heard->wait().ok());
    computed += all[static_cast<size_t>(i)].heard->timings().computed_tokens;
    GenerateRequest made = request_number(1, vocabulary, 20);
    made.prompt = some_ids(200, vocabulary, 9);
    made.options.sampling.seed = static_cast<uint64_t>(i);
    expect_same(*all[static_cast<size_t>(i)].heard->wait(), alone(*reference, made), std::to_string(i));
  }
  EXPECT_LE(computed, 200 + 3 * 40);
}

TEST_F(SchedulerTest, CancelledRequestsLeaveAtOnceWhereverTheyAre) {
  open({.ctx_size = 4096, .ubatch_size = 512, .parallel = 2});
  auto two = scheduler({.parallel = 2, .prefix_cache_bytes = 0});
  const GenerateRequest asked = request(20, 400, 3);
  const GenerateResult wanted = alone(*reference, asked);
  auto stays = submit(*two, asked);
  stays.heard->wait_for_tokens(3);
  auto prompt = submit(*two, request(4000, 10, 4));
  auto waits = submit(*two, request(4000, 10, 5));
  const auto cancel = [](Running& running, const char* where) {
    const auto start = std::chrono::steady_clock::now();
    running.handle->cancel();
    const auto& result = running.heard->wait();
    ASSERT_TRUE(result.ok()) << where;
    EXPECT_EQ(result->reason, StopReason::cancelled) << where;
    EXPECT_LT(running.heard->end_time() - start, std::chrono::milliseconds(200)) << where;
  };
  cancel(waits, "in the queue");
  EXPECT_EQ(waits.heard->timings().slot, -1);
  prompt.heard->wait_for_progress();
  cancel(prompt, "in the prompt");
  auto answers = submit(*two, request(10, 3000, 6));
  answers.heard->wait_for_tokens(5);
  cancel(answers, "in the answer");
  EXPECT_GE(answers.heard->wait()->ids.size(), 5u);
  // Nobody else notices.
  expect_same(*stays.heard->wait(), wanted, "the neighbour");
  EXPECT_EQ(two->stats().cancelled, 3u);
  waits.handle->cancel();  // long over
}

TEST_F(SchedulerTest, APromptDoesNotHoldUpTheTokensOfOthers) {
  open({.ctx_size = 4096, .ubatch_size = 512, .parallel = 2});
  auto two = scheduler({.parallel = 2, .prefix_cache_bytes = 0});
  auto answer = submit(*two, request(20, 3000, 3));
  answer.heard->wait_for_tokens(20);
  const uint64_t before = two->stats().steps;
  auto prompt = submit(*two, request(3500, 1, 4));
  ASSERT_TRUE(prompt.heard->wait().ok());
  const auto after = static_cast<size_t>(two->slots()[0].generated);
  EXPECT_FALSE(answer.heard->ended());
  // Every step that took a part of the prompt also gave a token.
  EXPECT_GE(after + 1, 20 + prompt.heard->progress().size());
  EXPECT_GT(two->stats().steps, before);
  answer.handle->cancel();
  EXPECT_TRUE(answer.heard->wait().ok());
}

TEST_F(SchedulerTest, TheQueueIsBoundedAndServedInOrder) {
  open({.ctx_size = 512});
  auto one = scheduler({.parallel = 1, .queue_limit = 2});
  std::vector<Running> all;
  for (int i = 0; i < 3; ++i) all.push_back(submit(*one, request(10, 400, static_cast<unsigned>(i))));
  // The first may not have left the queue yet: whoever does not fit is refused, and nobody else.
  auto refused = std::make_shared<Heard>();
  const auto full = one->submit(request(10, 10), refused);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ErrorCode::unavailable);
  EXPECT_GE(one->retry_after_seconds(), 1);
  EXPECT_EQ(one->stats().refused, 1u);
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(all[i].heard->wait().ok());
    if (i > 0) {
      EXPECT_GE(all[i].heard->end_time(), all[i - 1].heard->end_time());
    }
  }
  EXPECT_FALSE(refused->ended());
  one->drain(10);
  EXPECT_EQ(one->submit(request(10, 10), refused).error().code, ErrorCode::unavailable);
}

TEST_F(SchedulerTest, RequestsThatCannotWorkAreRefusedAtOnce) {
  open({.ctx_size = 64});
  auto one = scheduler();
  const auto refused = [&](const GenerateRequest& made, const char* part) {
    const auto handle = one->submit(made, std::make_shared<Heard>());
    ASSERT_FALSE(handle.ok()) << part;
    EXPECT_EQ(handle.error().code, ErrorCode::invalid_argument) << part;
    EXPECT_NE(handle.error().message.find(part), std::string::npos) << handle.error().message;
  };
  refused({}, "prompt is empty");
  refused(request(65, 1), "65");
  GenerateRequest made = request(3, 1);
  made.prompt[1] = static_cast<int32_t>(vocabulary);
  refused(made, "outside the vocabulary");
  made = request(3, 1);
  made.options.sampling.top_p = 7;
  refused(made, "top_p");
  made = request(3, 1);
  made.slot = 1;
  refused(made, "no slot 1");
  made = request(3, 1);
  made.n_probs = -1;
  refused(made, "n_probs");
  EXPECT_FALSE(Scheduler::create(*engine, {.parallel = 0}).ok());
  EXPECT_FALSE(Scheduler::create(*engine, {.queue_limit = -1}).ok());
  EXPECT_FALSE(Scheduler::create(*engine, {.draft_ngram = 1000}).ok());
}

// Four sequences, and memory for the contexts of one: they wait for each other, and none is given up.
TEST_F(SchedulerTest, SequencesWaitForMemoryAndNeverTakeMore) {
  open({.ctx_size = 128, .parallel = 1});
  auto four = scheduler({.parallel = 4});
  const uint64_t limit = four->stats().kv_limit_bytes;
  std::vector<Running> all;
  for (int i = 0; i < 12; ++i) all.push_back(submit(*four, request_number(i, vocabulary, 10 + i)));
  for (int i = 0; i < 12; ++i) {
    const auto& result = all[static_cast<size_t>(i)].heard->wait();
    ASSERT_TRUE(result.ok()) << result.error().message;
    expect_same(*result, alone(*reference, request_number(i, vocabulary, 10 + i)), std::to_string(i));
    EXPECT_LE(four->stats().kv_bytes, limit);
  }
  EXPECT_GT(four->stats().prefix_cache_evictions, 0u);
}

TEST_F(SchedulerTest, ContextShiftAndFullContextsAreThoseOfASequence) {
  open({.ctx_size = 64, .parallel = 3});
  auto three = scheduler({.parallel = 3, .draft_ngram = 4});
  std::vector<Running> all;
  std::vector<GenerateRequest> asked;
  for (int i = 0; i < 6; ++i) {
    GenerateRequest made = request_number(i, vocabulary, i % 2 == 0 ? -1 : 150);
    made.prompt = some_ids(20 + i, vocabulary, static_cast<unsigned>(i));
    made.options.context_shift = i % 2 == 1;
    made.options.keep = i;
    asked.push_back(made);
    all.push_back(submit(*three, made));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(all[i].heard->wait().ok());
    const GenerateResult wanted = alone(*reference, asked[i]);
    expect_same(*all[i].heard->wait(), wanted, std::to_string(i));
    EXPECT_EQ(all[i].heard->wait()->context_shifts, wanted.context_shifts);
  }
}

TEST_F(SchedulerTest, EmbeddingsDoNotDependOnNeighboursNorOnParts) {
  open({.ctx_size = 256, .ubatch_size = 200, .parallel = 4});
  const auto embed = [&](Scheduler& by, int64_t tokens, Pooling pooling) {
    GenerateRequest made = request(tokens, 0, static_cast<unsigned>(tokens));
    made.pooling = pooling;
    return submit(by, made);
  };
  auto four = scheduler({.parallel = 4});
  std::vector<Running> together;
  for (const int64_t tokens : {1, 33, 180}) together.push_back(embed(*four, tokens, Pooling::mean));
  auto last = embed(*four, 1, Pooling::last);
  ASSERT_TRUE(last.heard->wait().ok());
  for (auto& running : together) ASSERT_TRUE(running.heard->wait().ok());
  EXPECT_EQ(together[0].heard->embedding(), last.heard->embedding());  // the mean of one
  EXPECT_EQ(static_cast<int64_t>(last.heard->embedding().size()), engine->model().hidden);
  EXPECT_TRUE(together[1].heard->steps().empty());
  four.reset();
  open({.ctx_size = 256, .ubatch_size = 16});
  auto one = scheduler();
  for (size_t i = 0; i < together.size(); ++i) {
    auto alone = embed(*one, std::vector<int64_t>{1, 33, 180}[i], Pooling::mean);
    ASSERT_TRUE(alone.heard->wait().ok());
    EXPECT_EQ(alone.heard->embedding(), together[i].heard->embedding());
  }
}

TEST_F(SchedulerTest, TheLastStateOfALongTextIsWhatAnObserverSees) {
  struct LastState final : LayerObserver {
    int64_t layers = 0, hidden = 0;
    std::vector<float> state;
    void on_hidden(int64_t layer, int64_t, std::span<const float> states) override {
      const auto last = states.last(static_cast<size_t>(hidden));
      if (layer == layers) state.assign(last.begin(), last.end());
    }
  };
  open({.ctx_size = 256, .ubatch_size = 16});
  GenerateRequest made = request(180, 0, 180);
  made.pooling = Pooling::last;
  LastState observer;
  observer.layers = engine->model().layers, observer.hidden = engine->model().hidden;
  auto sequence = engine->new_sequence().value();
  sequence->observe(&observer);
  ASSERT_TRUE(sequence->append(made.prompt).ok());
  sequence.reset();  // its room is the scheduler's now
  auto one = scheduler();
  auto running = submit(*one, made);
  ASSERT_TRUE(running.heard->wait().ok());
  EXPECT_EQ(running.heard->embedding(), observer.state);
}

// Where experts stream, a long prompt goes layer by layer, and the others take their steps in between.
TEST_F(SchedulerTest, StreamedExpertsChangeNothing) {
  open({.ctx_size = 640, .ubatch_size = 64, .parallel = 4});
  std::vector<GenerateResult> wanted;
  const auto made = [&](int i) {
    GenerateRequest asked = request_number(i, vocabulary, 60);
    if (i % 2 == 1) asked.prompt = some_ids(500, vocabulary, static_cast<unsigned>(i));
    // One goes on from another, which ends with a block.
    if (i == 4 || i == 6) asked.prompt = some_ids(i == 4 ? 96 : 400, vocabulary, 77);
    return asked;
  };
  for (int i = 0; i < 8; ++i) wanted.push_back(alone(*reference, made(i)));
  for (const int64_t slots : {0, 2}) {
    open({.ctx_size = 640, .ubatch_size = 64, .parallel = 4, .expert_slots = slots});
    auto four = scheduler({.parallel = 4, .draft_ngram = 4});
    std::vector<Running> all;
    for (int i = 0; i < 8; ++i) all.push_back(submit(*four, made(i)));
    for (int i = 0; i < 8; ++i) {
      const auto& result = all[static_cast<size_t>(i)].heard->wait();
      ASSERT_TRUE(result.ok()) << result.error().message;
      expect_same(*result, wanted[static_cast<size_t>(i)], std::to_string(i));
      EXPECT_EQ(all[static_cast<size_t>(i)].heard->timings().drafted_tokens, 0);
    }
    four->drain(10);
    EXPECT_GT(engine->expert_stats().misses, 0u);
  }
}

// Steps of prompts, of several sequences, and of both: replaying what was recorded gives the store's own counts. They
// are there for whoever was told that a request has ended.
TEST_F(SchedulerTest, ARecordedTraceHasTheCountsOfAllSequences) {
  const std::string trace = testing::TempDir() + "moxie-scheduler-" + std::to_string(::getpid()) + ".trace.tsv";
  for (const char* policy : {"lru", "lfru", "lcp"}) {
    engine = test::open_engine({.model = golden_path("mixtral/merged.gguf"),
                                .ctx_size = 256,
                                .threads = 1,
                                .ubatch_size = 64,
                                .parallel = 4,
                                .expert_slots = 3,
                                .policy = policy,
                                .lookahead = "on",
                                .trace_routing = trace})
                 .value();
    vocabulary = engine->model().vocabulary;
    {
      auto four = scheduler({.parallel = 4});
      std::vector<Running> all;
      for (unsigned i = 0; i < 6; ++i) all.push_back(submit(*four, request(5 + 20 * i, 30, i)));
      for (const Running& one : all) ASSERT_TRUE(one.heard->wait().ok());
      const ExpertStats told = four->stats().experts;
      EXPECT_EQ(told.layer_hits, engine->expert_stats().layer_hits);
      EXPECT_EQ(told.bytes_read, engine->expert_stats().bytes_read);
      const SchedulerStats stats = four->stats();
      EXPECT_GT(stats.step_sequences, stats.steps) << "nothing was computed together";
    }
    const ExpertStats counted = engine->expert_stats();
    engine.reset();
    const auto recorded = read_routing_trace(trace);
    ASSERT_TRUE(recorded.ok()) << recorded.error().message;
    const auto replayed = replay(*recorded, *find_policy(policy), 3);
    ASSERT_EQ(replayed.size(), counted.layer_hits.size());
    for (size_t layer = 0; layer < replayed.size(); ++layer) {
      EXPECT_EQ(replayed[layer].total().hits, counted.layer_hits[layer]) << policy << ", layer " << layer;
      EXPECT_EQ(replayed[layer].total().misses, counted.layer_misses[layer]) << policy << ", layer " << layer;
    }
  }
  std::filesystem::remove(trace);
}

TEST_F(SchedulerTest, SlotsAreSavedAndRestored) {
  open({.ctx_size = 256, .parallel = 2});
  const std::string path = testing::TempDir() + "/slot.kv", other = testing::TempDir() + "/damaged.kv";
  GenerateRequest asked = request(100, 20);
  asked.slot = 1;
  const GenerateResult wanted = alone(*reference, asked);
  {
    auto two = scheduler({.parallel = 2});
    expect_same(*submit(*two, asked).heard->wait(), wanted, "first");
    const auto saved = two->save_slot(1, path);
    ASSERT_TRUE(saved.ok()) << saved.error().message;
    EXPECT_EQ(saved->tokens, 119);  // the last token that was drawn is not computed
    EXPECT_EQ(saved->bytes, std::filesystem::file_size(path));
    EXPECT_EQ(*two->erase_slot(1), 119);
    auto again = submit(*two, asked);
    expect_same(*again.heard->wait(), wanted, "erased");
    EXPECT_EQ(again.heard->timings().cached_tokens, 0);
    EXPECT_EQ(two->save_slot(2, path).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(two->restore_slot(0, path + ".not").error().code, ErrorCode::not_found);
  }
  auto two = scheduler({.parallel = 2});
  const auto restored = two->restore_slot(0, path);
  ASSERT_TRUE(restored.ok()) << restored.error().message;
  EXPECT_EQ(restored->tokens, 119);
  auto hit = submit(*two, asked);
  expect_same(*hit.heard->wait(), wanted, "restored");
  EXPECT_EQ(hit.heard->timings().cached_tokens, 99);

  // Every byte counts.
  std::ifstream in(path, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  for (const size_t at :
       {size_t{3}, size_t{12}, size_t{26}, size_t{33}, size_t{60}, whole.size() / 2, whole.size() - 1}) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    std::ofstream(other, std::ios::binary) << damaged;
    EXPECT_FALSE(two->restore_slot(0, other).ok()) << at;
  }
  std::ofstream(other, std::ios::binary) << whole.substr(0, whole.size() - 100);
  EXPECT_EQ(two->restore_slot(0, other).error().code, ErrorCode::corrupt);
  two.reset();
  open({.model = golden_path("mixtral/q8_0.gguf"), .ctx_size = 256});
  EXPECT_EQ(scheduler()->restore_slot(0, path).error().code, ErrorCode::invalid_argument);
}

TEST_F(SchedulerTest, BlocksOnDiskServeTheNextRunAndDamagedOnesAreIgnored) {
  namespace fs = std::filesystem;
  const std::string folder = testing::TempDir() + "/block_store";
  fs::remove_all(folder);
  std::vector<std::string> said;
  std::mutex said_mutex;
  const auto reopen = [&] {
    open({.ctx_size = 256, .on_log = [&](Severity, std::string_view text) {
            const std::lock_guard lock(said_mutex);
            said.emplace_back(text);
          }});
  };
  reopen();
  const SchedulerOptions options = {.cache_disk = folder};
  const GenerateRequest asked = request(150, 20);
  const GenerateResult wanted = alone(*reference, asked);
  expect_same(*submit(*scheduler(options), asked).heard->wait(), wanted, "cold");
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  EXPECT_EQ(files.size(), 10u);  // 169 tokens are computed: ten whole blocks of 16
  reopen();
  {
    auto next = scheduler(options);
    auto hit = submit(*next, asked);
    expect_same(*hit.heard->wait(), wanted, "from disk");
    // The tenth block goes on beyond the prompt: what it holds of it is not known without its tokens.
    EXPECT_EQ(hit.heard->timings().cached_tokens, 144);
    next->drain(5);
    EXPECT_EQ(next->stats().disk_cache_loaded, 9u);
  }
  for (const fs::path& file : files) {
    std::fstream damaged(file, std::ios::binary | std::ios::in | std::ios::out);
    damaged.seekp(700);
    damaged.put('\x5a');
    damaged.put('\x5b');
  }
  reopen();
  {
    auto next = scheduler(options);
    auto miss = submit(*next, asked);
    expect_same(*miss.heard->wait(), wanted, "damaged");
    EXPECT_EQ(miss.heard->timings().cached_tokens, 0);
    next->drain(5);
    EXPECT_GE(next->stats().disk_cache_damaged, 1u);
  }
  EXPECT_TRUE(std::ranges::any_of(
      said, [](const std::string& text) { return text.find("damaged block") != std::string::npos; }));
  // Bounded: room for two blocks.
  const auto bytes = static_cast<int64_t>(fs::file_size(files[0]));
  reopen();
  ASSERT_TRUE(submit(*scheduler({.cache_disk = folder, .cache_disk_bytes = 2 * bytes + 10}), asked).heard->wait().ok());
  reopen();
  EXPECT_LE(scheduler({.cache_disk = folder, .cache_disk_bytes = 2 * bytes + 10})->stats().disk_cache_bytes,
            static_cast<uint64_t>(2 * bytes + 10));
  // A folder that is none.
  std::ofstream(testing::TempDir() + "/no_folder") << "x";
  EXPECT_FALSE(Scheduler::create(*engine, {.cache_disk = testing::TempDir() + "/no_folder"}).ok());
}

// Random requests, some cancelled at random moments, from several threads: everything ends, nothing is mixed up.
TEST_F(SchedulerTest, RandomCancelsDisturbNobody) {
  open({.ctx_size = 160, .ubatch_size = 32, .parallel = 4, .expert_slots = 4});
  std::vector<GenerateResult> wanted;
  constexpr int kKinds = 6, kThreads = 4, kRequests = 25;
  for (int i = 0; i < kKinds; ++i) wanted.push_back(alone(*reference, request_number(i, vocabulary, 12)));
  const std::string folder = testing::TempDir() + "/random_cancels";
  std::filesystem::remove_all(folder);
  auto four = scheduler({.parallel = 4, .cache_disk = folder});
  std::atomic<int> whole{0}, cancelled{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < kRequests; ++i) {
        const int kind = static_cast<int>(random() % kKinds);
        auto running = submit(*four, request_number(kind, vocabulary, 12));
        if (random() % 3 == 0) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
          running.handle->cancel();
        }
        if (random() % 4 == 0) four->slots();
        if (random() % 8 == 0) four->stats();
        const auto result = running.heard->wait();
        ASSERT_TRUE(result.ok()) << result.error().message;
        const auto& expected = wanted[static_cast<size_t>(kind)];
        if (result->reason != StopReason::cancelled) {
          expect_same(*result, expected, std::to_string(kind));
          ++whole;
          continue;
        }
        ++cancelled;
        ASSERT_LE(result->ids.size(), expected.ids.size());
        EXPECT_TRUE(std::equal(result->ids.begin(), result->ids.end(), expected.ids.begin()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(whole, kRequests);
  four->drain(10);
  const SchedulerStats stats = four->stats();
  EXPECT_EQ(stats.finished + stats.cancelled, static_cast<uint64_t>(kThreads * kRequests));
  EXPECT_EQ(stats.running, 0);
  EXPECT_LE(stats.kv_bytes, stats.kv_limit_bytes);
}

TEST_F(SchedulerTest, DrainingCancelsWhatTakesTooLong) {
  open({.ctx_size = 4096});
  auto one = scheduler({.parallel = 1});
  auto runs = submit(*one, request(10, -1)), waits = submit(*one, request(10, -1, 2));
  runs.heard->wait_for_tokens(2);
  one->drain(0.05);
  EXPECT_EQ(runs.heard->wait()->reason, StopReason::cancelled);
  EXPECT_EQ(waits.heard->wait()->reason, StopReason::cancelled);
  one.reset();
  runs.handle->cancel();  // the handle outlives the scheduler
}

}  // namespace
}  // namespace moxie

// Many requests on one engine: every one gets the answer that it gets alone, in its turn, and leaves when it is told
// to.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "golden/scheduler_fixture.h"
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
    options.threads = 2;
    auto opened = test::open_engine(options);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    engine = std::move(opened).value();
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
    return made;
  }

  std::unique_ptr<Engine> engine;
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
        expect_same(*running.heard->wait(), alone(*engine, asked), asked.id);
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

}  // namespace
}  // namespace moxie

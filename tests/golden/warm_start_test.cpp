// What is kept between runs, pins and profiles change when experts are read, never the answer.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "core/fail.h"
#include "core/folder.h"
#include "engine/engine_impl.h"
#include "engine/profiler.h"
#include "golden/golden_models.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

const std::vector<int32_t> kWarmPrompt = {1, 5, 9, 2, 7, 30, 11, 4, 6, 3, 17, 8};

struct Outcome {
  std::vector<float> logits;
  ExpertStats stats;
  std::vector<std::string> notices;
};

class WarmStartOfAModel : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "moxie-warm-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    options_ = {.model = (golden::data_folder() / "golden/mixtral/merged.gguf").string(),
                .threads = 2,
                .expert_slots = 3,
                .cache_folder = folder_.string()};
  }
  void TearDown() override { fs::remove_all(folder_); }

  Outcome run(const EngineOptions& options, int steps = 24) const {
    Outcome run;
    auto engine = test::open_engine(options);
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    if (!engine.ok()) return run;
    auto sequence = (*engine)->new_sequence().value();
    const auto keep = [&](int64_t, std::span<const float> row) {
      run.logits.insert(run.logits.end(), row.begin(), row.end());
    };
    EXPECT_TRUE(sequence->append(kWarmPrompt, keep).ok());
    for (int step = 0; step < steps; ++step) {
      const std::span<const float> logits = sequence->logits();
      const int32_t id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      EXPECT_TRUE(sequence->append({&id, 1}, keep).ok());
    }
    run.stats = (*engine)->expert_stats();
    run.notices = (*engine)->notices();
    return run;
  }
  std::vector<std::string> saved() const {
    const fs::path experts = folder_ / "experts";
    return fs::exists(experts) ? list_files(experts.string()).value() : std::vector<std::string>();
  }
  std::string state_path() const { return (folder_ / "experts" / saved().at(0)).string(); }
  static std::string text_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static bool speaks_of(const std::vector<std::string>& notices, std::string_view part) {
    return std::count_if(notices.begin(), notices.end(),
                         [&](const std::string& n) { return n.find(part) != std::string::npos; }) == 1;
  }

  fs::path folder_;
  EngineOptions options_;
};

TEST_F(WarmStartOfAModel, TheNextRunBeginsWithWhatTheLastOneHad) {
  EngineOptions everything = options_;
  everything.expert_slots = -1;
  everything.memory = "all";
  const Outcome resident = run(everything);
  EXPECT_TRUE(saved().empty());  // nothing streams, nothing is to be remembered

  const Outcome cold = run(options_);
  ASSERT_EQ(saved().size(), 1u);
  const std::string first = text_of(state_path());
  const Outcome warm = run(options_);
  EXPECT_EQ(saved().size(), 1u);
  EXPECT_NE(text_of(state_path()), first);  // counts went on
  EXPECT_TRUE(golden::same_bits(resident.logits, cold.logits));
  EXPECT_TRUE(golden::same_bits(resident.logits, warm.logits));
  EXPECT_GT(warm.stats.hits, cold.stats.hits);

  // Whatever the next run's budget and policy are.
  for (const int64_t slots : {0, 2, 5, 7}) {
    for (const char* policy : {"lfru", "lru", "static"}) {
      EngineOptions other = options_;
      other.expert_slots = slots;
      other.policy = policy;
      const Outcome next = run(other, 4);
      ASSERT_FALSE(next.logits.empty());
      EXPECT_EQ(std::memcmp(next.logits.data(), resident.logits.data(), next.logits.size() * sizeof(float)), 0)
          << slots << " " << policy;
    }
  }
}

TEST_F(WarmStartOfAModel, WithoutItNothingIsReadOrWritten) {
  EngineOptions off = options_;
  off.warm = false;
  run(off);
  EXPECT_TRUE(saved().empty());
  EngineOptions nowhere = options_;
  nowhere.cache_folder.clear();
  run(nowhere);
  const Outcome cold = run(options_);
  const std::string state = text_of(state_path());
  const Outcome again = run(off);
  EXPECT_EQ(again.stats.hits, cold.stats.hits);
  EXPECT_EQ(text_of(state_path()), state);
}

TEST_F(WarmStartOfAModel, AnEngineThatComputesNothingSavesNothing) {
  ASSERT_TRUE(Engine::open(options_).ok());
  EXPECT_TRUE(saved().empty());
}

WarmStart::Clock::time_point clock_of_the_test;

TEST_F(WarmStartOfAModel, IsSavedWhileRunningWhenItIsDue) {
  using namespace std::chrono_literals;
  auto engine = Engine::Impl::open(options_, {}, {.now = [] { return clock_of_the_test; }}).value();
  auto sequence = engine->new_sequence().value();
  ASSERT_TRUE(sequence->append(kWarmPrompt).ok());
  EXPECT_TRUE(saved().empty());
  clock_of_the_test += 3min;
  const int32_t id = 7;
  ASSERT_TRUE(sequence->append({&id, 1}).ok());
  ASSERT_EQ(saved().size(), 1u);
  const std::string first = text_of(state_path());
  ASSERT_TRUE(sequence->append({&id, 1}).ok());
  EXPECT_EQ(text_of(state_path()), first);
  clock_of_the_test += 3min;
  ASSERT_TRUE(sequence->append({&id, 1}).ok());
  EXPECT_NE(text_of(state_path()), first);
}

// Killed at any moment, a program leaves the state of its last save, whole.
TEST_F(WarmStartOfAModel, AKilledProgramLeavesItsLastSave) {
  const Outcome cold = run({.model = options_.model, .threads = 2, .expert_slots = 3});
  for (int round = 0; round < 8; ++round) {
    fs::remove_all(folder_ / "experts");
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto engine = Engine::Impl::open(options_, {}, {.pause = std::chrono::seconds(0)});  // every step is saved
      if (!engine.ok()) _exit(1);
      auto sequence = (*engine)->new_sequence().value();
      for (int32_t id = 0;; id = (id + 7) % 64) {
        if (sequence->ids().size() > 100 && !sequence->truncate(1).ok()) _exit(2);
        if (!sequence->append({&id, 1}).ok()) _exit(3);
      }
    }
    for (int wait = 0; saved().empty() && wait < 20000; ++wait)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(1700 * round));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << status;
    const auto state =
        std::count_if(fs::directory_iterator(folder_ / "experts"), fs::directory_iterator(),
                      [](const fs::directory_entry& file) { return file.path().extension() == ".json"; });
    EXPECT_EQ(state, 1);
    EngineOptions options = options_;
    std::vector<std::string> said;
    options.on_log = [&](Severity, std::string_view text) { said.emplace_back(text); };
    const Outcome next = run(options);
    EXPECT_TRUE(golden::same_bits(next.logits, cold.logits));
    EXPECT_FALSE(speaks_of(said, "this run starts without"));
    EXPECT_TRUE(speaks_of(said, "experts known from the last run are read"));
  }
}

TEST_F(WarmStartOfAModel, ABrokenStateIsSaidAndReplaced) {
  const Outcome cold = run(options_);
  const std::string good = text_of(state_path());
  std::string far = good;
  far.replace(far.find("[0,"), 3, "[7777777,");
  for (const std::string& bad : {std::string(), std::string("{\"moxie_warm_state\":1"), std::string(3 << 20, '['), far,
                                 std::string("\x00\xff\xfe", 3)}) {
    std::ofstream(state_path(), std::ios::binary) << bad;
    const Outcome next = run(options_);
    EXPECT_TRUE(golden::same_bits(cold.logits, next.logits));
    EXPECT_EQ(next.stats.hits, cold.stats.hits);
    EXPECT_TRUE(speaks_of(next.notices, "this run starts without, and replaces it")) << bad.substr(0, 40);
    EXPECT_EQ(text_of(state_path()), good);  // the same run leaves the same state
  }
}

TEST_F(WarmStartOfAModel, AnotherModelsStateIsRefusedByNameAndReplaced) {
  const Outcome cold = run(options_);
  std::string other = text_of(state_path());
  const std::string fingerprint = fs::path(state_path()).stem().string();
  other.replace(other.find(fingerprint), fingerprint.size(), "0000000000000000");
  other.replace(other.find("merged.gguf"), 11, "mistaken.gguf");
  std::ofstream(state_path(), std::ios::binary) << other;
  const Outcome next = run(options_);
  EXPECT_TRUE(golden::same_bits(cold.logits, next.logits));
  EXPECT_TRUE(speaks_of(next.notices, "holds the hot set of another model, 'mistaken.gguf' (0000000000000000)"));
  EXPECT_TRUE(run(options_, 1).notices.size() < next.notices.size());
}

TEST_F(WarmStartOfAModel, OneStateForAllFilesOfTheSameWeights) {
  run(options_);
  EngineOptions split = options_;
  split.model = (golden::data_folder() / "golden/mixtral/split.gguf").string();
  run(split);
  EXPECT_EQ(saved().size(), 1u);
  EngineOptions other = options_;
  other.model = (golden::data_folder() / "golden/qwen2_moe/merged.gguf").string();
  other.expert_slots = 4;
  run(other);
  EXPECT_EQ(saved().size(), 2u);
}

TEST_F(WarmStartOfAModel, AFolderThatCannotBeWrittenIsSaidOnce) {
  const fs::path file = folder_ / "file";
  std::ofstream(file) << "in the way";
  EngineOptions blocked = options_;
  blocked.cache_folder = (file / "moxie").string();
  std::vector<std::string> said;
  blocked.on_log = [&](Severity severity, std::string_view text) {
    if (severity == Severity::warning) said.emplace_back(text);
  };
  const Outcome next = run(blocked);
  EXPECT_FALSE(next.logits.empty());
  EXPECT_EQ(std::count_if(said.begin(), said.end(),
                          [&](const std::string& s) { return s.find(file.string()) != std::string::npos; }),
            1);
}

TEST_F(WarmStartOfAModel, PinsStayAndChangeNothing) {
  EngineOptions plain = options_;
  plain.cache_folder.clear();
  const Outcome expected = run(plain);
  EngineOptions pinned = plain;
  pinned.pin = "0:1,1:3";
  EXPECT_TRUE(golden::same_bits(run(pinned).logits, expected.logits));
  pinned.pin = "0:1,0:2";
  const auto refused = Engine::open(pinned);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(refused.error().message.find("layer 0: 2 pinned experts leave fewer than 2 of its 3 places"),
            std::string::npos);
  pinned.pin = "0:99";
  EXPECT_FALSE(Engine::open(pinned).ok());
  pinned.pin = "0:1,0:2";
  pinned.expert_slots = 64;  // everything is resident
  EXPECT_TRUE(speaks_of(run(pinned).notices, "pins have no effect"));
}

// Counts by another way: token by token, from what a sequence says of its last token.
TEST_F(WarmStartOfAModel, AProfileCountsWhatTheTokensChose) {
  for (const bool streams : {false, true}) {
    EngineOptions options = options_;
    options.cache_folder.clear();
    options.ubatch_size = 5;
    if (!streams) options.expert_slots = -1;
    auto engine = test::open_engine(options).value();
    const ModelInfo& info = engine->model();
    std::vector<int32_t> ids;
    for (int i = 0; i < 30; ++i) ids.push_back((i * 37 + 11) % static_cast<int32_t>(info.vocabulary));
    const int64_t chunk = 13;
    const auto result = Profiler::run(*engine, ids, {.chunk_tokens = chunk});
    ASSERT_TRUE(result.ok()) << result.error().message;

    const bool start = engine->adds_bos() && engine->bos() >= 0;
    std::map<std::pair<size_t, size_t>, uint64_t> expected;
    auto sequence = engine->new_sequence().value();
    int64_t tokens = 0, chunks = 0;
    for (size_t at = 0; at < ids.size(); ++chunks) {
      ASSERT_TRUE(sequence->truncate(0).ok());
      for (int64_t i = 0; i < chunk && at < ids.size(); ++i, ++tokens) {
        const int32_t id = start && i == 0 ? engine->bos() : ids[at++];
        ASSERT_TRUE(sequence->append({&id, 1}).ok());
        const auto chosen = sequence->last_experts();
        for (size_t j = 0; j < chosen.size(); ++j) {
          ++expected[{j / static_cast<size_t>(info.experts_used), static_cast<size_t>(chosen[j])}];
        }
      }
    }
    EXPECT_EQ(result->profile.tokens, tokens);
    EXPECT_EQ(result->chunks, chunks);
    for (size_t layer = 0; layer < result->profile.uses.size(); ++layer) {
      double mass = 0;
      for (size_t id = 0; id < result->profile.uses[layer].size(); ++id) {
        const uint64_t uses = result->profile.uses[layer][id];
        const uint64_t wanted = expected[std::pair(layer, id)];
        EXPECT_EQ(uses, wanted) << layer << ":" << id;
        EXPECT_LE(result->profile.mass[layer][id], static_cast<double>(uses) + 1e-3);
        mass += result->profile.mass[layer][id];
      }
      EXPECT_NEAR(mass, static_cast<double>(tokens), 1e-3);  // Mixtral's weights sum to one
    }
  }
}

TEST_F(WarmStartOfAModel, RoutersAloneReadNoExpertAndAreRightInTheFirstLayer) {
  EngineOptions options = options_;
  options.cache_folder.clear();
  auto engine = test::open_engine(options).value();
  const std::vector<int32_t> ids(kWarmPrompt.begin(), kWarmPrompt.end());
  const auto alone = Profiler::run(*engine, ids, {.chunk_tokens = 8, .router_only = true, .check = false});
  ASSERT_TRUE(alone.ok()) << alone.error().message;
  EXPECT_FALSE(alone->check.has_value());
  EXPECT_EQ(engine->expert_stats().hits + engine->expert_stats().misses, 0u);

  const auto checked = Profiler::run(*engine, ids, {.chunk_tokens = 8, .router_only = true});
  const auto exact = Profiler::run(*engine, ids, {.chunk_tokens = 8});
  ASSERT_TRUE(checked.ok() && exact.ok());
  EXPECT_EQ(checked->profile.uses, alone->profile.uses);
  EXPECT_EQ(checked->profile.uses[0], exact->profile.uses[0]);
  const RouterOnlyCheck& check = checked->check.value();
  EXPECT_EQ(check.found[0], check.choices[0]);
  EXPECT_EQ(check.top_found[0], check.top[0]);
  EXPECT_LT(check.found.back(), check.choices.back());
  EXPECT_GT(check.recall(), 0);
  EXPECT_LT(check.recall(), 1);

  // The engine computes as before.
  auto sequence = engine->new_sequence().value();
  std::vector<float> after;
  ASSERT_TRUE(
      sequence
          ->append(kWarmPrompt,
                   [&](int64_t, std::span<const float> row) { after.insert(after.end(), row.begin(), row.end()); })
          .ok());
  const Outcome fresh = run(options, 0);
  EXPECT_TRUE(golden::same_bits(after, fresh.logits));
}

TEST_F(WarmStartOfAModel, WhatCannotBeProfiledIsRefused) {
  const std::vector<int32_t> ids(kWarmPrompt.begin(), kWarmPrompt.end());
  EngineOptions options = {.model = (golden::data_folder() / "golden/llama/model.safetensors").string()};
  auto dense = test::open_engine(options).value();
  EXPECT_EQ(Profiler::run(*dense, ids, {.chunk_tokens = 8}).error().code, ErrorCode::invalid_argument);
  options.model = options_.model;
  options.ctx_size = 16;
  auto engine = test::open_engine(options).value();
  EXPECT_EQ(Profiler::run(*engine, ids, {.chunk_tokens = 17}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(Profiler::run(*engine, {}, {.chunk_tokens = 16}).error().code, ErrorCode::invalid_argument);
  const std::atomic<bool> stop = true;
  EXPECT_EQ(Profiler::run(*engine, ids, {.chunk_tokens = 16, .stop = &stop}).error().code, ErrorCode::cancelled);
  EXPECT_TRUE(Profiler::run(*engine, ids, {.chunk_tokens = 16}).ok());
}

TEST_F(WarmStartOfAModel, AProfileSeedsTheHotSet) {
  EngineOptions options = options_;
  options.cache_folder.clear();
  const Outcome expected = run(options);
  const std::string path = (folder_ / "p.json").string();
  {
    auto engine = test::open_engine(options).value();
    const std::vector<int32_t> ids(kWarmPrompt.begin(), kWarmPrompt.end());
    std::ofstream(path) << profile_text(Profiler::run(*engine, ids, {.chunk_tokens = 8}).value().profile);
  }
  options.pin = path;
  options.pin_top = 0;
  options.policy = "static";
  const Outcome seeded = run(options);
  EXPECT_TRUE(golden::same_bits(seeded.logits, expected.logits));
  options.pin.clear();
  EXPECT_GT(seeded.stats.hits, run(options).stats.hits);  // a static set of whatever came first
}

}  // namespace
}  // namespace moxie

// Several threads, each with sequences of its own on one engine, few slots, a drive that fails now and then, requests
// that are cancelled, cut back and given up: everything ends, and every logit is that of a run alone with all experts
// in memory.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "golden/engine_with.h"
#include "golden/golden_models.h"
#include "support/watchdog.h"

namespace moxie {
namespace {

constexpr int kThreads = 4, kTexts = 3;
constexpr size_t kLength = 60;

using Rows = std::vector<std::vector<float>>;

struct Text {
  std::vector<int32_t> ids;
  Rows rows;  // logits after each id
};

std::vector<Text> texts_of(const EngineOptions& resident) {
  std::vector<Text> texts;
  auto engine = Engine::open(resident).value();
  std::mt19937 random(11);
  for (int i = 0; i < kTexts; ++i) {
    Text& text = texts.emplace_back();
    while (text.ids.size() < kLength)
      text.ids.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(engine->model().vocabulary)));
    auto sequence = engine->new_sequence().value();
    EXPECT_TRUE(
        sequence
            ->append(text.ids,
                     [&](int64_t, std::span<const float> row) { text.rows.emplace_back(row.begin(), row.end()); })
            .ok());
  }
  return texts;
}

struct Sums {
  std::atomic<int> compared{0}, failed{0}, cancelled{0};
};

// One thread: goes through texts in steps of any size, now and then back or from the beginning; a little longer while
// nothing has failed or was cancelled yet.
void go_through(Engine& engine, const std::vector<Text>& texts, unsigned seed, int steps, Sums& sums) {
  std::mt19937 random(seed);
  const Text* text = nullptr;
  std::unique_ptr<Sequence> sequence;
  std::mutex owned;  // of the pointer, for the thread that cancels
  std::atomic<bool> done{false};
  std::thread canceller([&] {
    std::mt19937 when(seed + 1000);
    while (!done) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1 + when() % 30));
      const std::lock_guard lock(owned);
      if (sequence != nullptr && seed % 2 == 0) sequence->cancel();
    }
  });
  const auto seen_all = [&] { return sums.failed > 0 && sums.cancelled > 0 && sums.compared > 200; };
  for (int step = 0; step < steps || (!seen_all() && step < 50 * steps); ++step) {
    if (sequence == nullptr || random() % 20 == 0) {
      const std::lock_guard lock(owned);
      text = &texts[random() % texts.size()];
      sequence = engine.new_sequence().value();
    }
    size_t at = sequence->ids().size();
    if (at == kLength || (at > 4 && random() % 10 == 0)) {
      EXPECT_TRUE(sequence->truncate(static_cast<int64_t>(at / 2)).ok());
      at /= 2;
    }
    const size_t count = std::min<size_t>(kLength - at, random() % 3 == 0 ? 1 + random() % 24 : 1);
    size_t row = at;
    const auto result =
        sequence->append(std::span(text->ids).subspan(at, count), [&](int64_t position, std::span<const float> logits) {
          EXPECT_EQ(position, static_cast<int64_t>(row));
          const std::vector<float>& expected = text->rows[row++];
          EXPECT_EQ(std::memcmp(logits.data(), expected.data(), expected.size() * sizeof(float)), 0)
              << "seed " << seed << ", position " << position;
          ++sums.compared;
        });
    if (result.ok()) continue;
    const ErrorCode code = result.error().code;
    EXPECT_TRUE(code == ErrorCode::io || code == ErrorCode::cancelled) << result.error().message;
    ++(code == ErrorCode::io ? sums.failed : sums.cancelled);
  }
  done = true;
  canceller.join();
}

TEST(Stress, SequencesOfSeveralThreadsOnFewSlots) {
  const test::Watchdog watchdog;
  const std::string model = (golden::data_folder() / "golden/mixtral/merged.gguf").string();
  const std::vector<Text> texts = texts_of({.model = model, .ctx_size = 64, .threads = 2, .memory = "all"});
  for (const int64_t slots : {0, 2, 3}) {
    for (const char* backend : {"threads", "auto"}) {
      std::atomic<bool> armed{false};
      golden::Dice dice(static_cast<uint64_t>(slots));
      std::atomic<int> bad{0};
      const EngineOptions options = {.model = model,
                                     .ctx_size = 64,
                                     .threads = 2,
                                     .expert_slots = slots,
                                     .lookahead = "on",
                                     .io_backend = backend,
                                     .io_depth = 3,
                                     .io_piece = 4096};
      auto engine = golden::open_with(options, [&](ReadOutcome& outcome) {
                      if (!armed) return;
                      const uint64_t random = dice.roll();
                      if (random % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random / 16 % 300));
                      if (random / 16 % 700 == 0) bad = 8;
                      if (random / 16 % 100 == 1 || bad.fetch_sub(1) > 0) outcome.result = -EIO;
                      if (random / 16 % 100 == 2 && outcome.result > 1) outcome.result /= 2;
                      if (outcome.result < 0) std::memset(outcome.into, 0x5A, outcome.bytes);
                    }).value();
      armed = true;
      Sums sums;
      std::vector<std::thread> threads;
      for (unsigned seed = 0; seed < kThreads; ++seed) {
        threads.emplace_back(
            [&, seed] { go_through(*engine, texts, seed + 10 * static_cast<unsigned>(slots), 80, sums); });
      }
      std::atomic<bool> over{false};
      std::thread watcher([&] {  // as a display does
        while (!over) {
          const ExpertHeat heat = engine->expert_heat();
          EXPECT_EQ(heat.states.size(), static_cast<size_t>(heat.layers * heat.experts));
          EXPECT_GE(engine->expert_stats().misses, heat.misses);
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
      });
      for (std::thread& thread : threads) thread.join();
      over = true;
      watcher.join();
      EXPECT_GT(sums.compared, 200) << slots << " " << backend;
      EXPECT_GT(sums.failed, 0) << slots << " " << backend;
      EXPECT_GT(sums.cancelled, 0) << slots << " " << backend;
      // And then, undisturbed, all of it.
      armed = false;
      for (const Text& text : texts) {
        size_t row = 0;
        auto sequence = engine->new_sequence().value();
        ASSERT_TRUE(
            sequence
                ->append(text.ids,
                         [&](int64_t, std::span<const float> logits) {
                           const std::vector<float>& expected = text.rows[row++];
                           EXPECT_EQ(std::memcmp(logits.data(), expected.data(), expected.size() * sizeof(float)), 0)
                               << row;
                         })
                .ok());
        EXPECT_EQ(row, kLength);
      }
    }
  }
}

}  // namespace
}  // namespace moxie

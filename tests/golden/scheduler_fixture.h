// For tests of the scheduler: requests, what their listeners heard, and the same request on a sequence of its own.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>

#include "engine/scheduler.h"
#include "golden/golden_models.h"

namespace moxie::golden {

// Remembers everything that was told.
class Heard final : public RequestListener {
 public:
  void on_prompt_progress(int64_t done, int64_t total) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    EXPECT_LE(done, total);
    progress_.push_back(done);
    changed_.notify_all();
  }
  void on_token(const TokenStep& step) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    steps_.push_back(step);
    changed_.notify_all();
  }
  void on_embedding(std::span<const float> vector) override {
    const std::lock_guard lock(mutex_);
    embedding_.assign(vector.begin(), vector.end());
  }
  void on_end(const Result<GenerateResult>& result, const RequestTimings& timings) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_) << "told twice that it ended";
    ended_ = std::chrono::steady_clock::now();
    result_ = result;
    timings_ = timings;
    changed_.notify_all();
  }

  // After the end.
  const Result<GenerateResult>& wait() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(60), [&] { return ended_.has_value(); })) {
      ADD_FAILURE() << "the request does not end";
      result_ = Error{ErrorCode::internal, "still running"};
    }
    return *result_;
  }
  void wait_for_tokens(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60),
                                  [&] { return steps_.size() >= count || ended_.has_value(); }));
  }
  void wait_for_progress() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(60), [&] { return !progress_.empty() || ended_.has_value(); }));
  }
  bool ended() const {
    const std::lock_guard lock(mutex_);
    return ended_.has_value();
  }
  std::chrono::steady_clock::time_point end_time() const { return *ended_; }
  const std::vector<TokenStep>& steps() const { return steps_; }
  const std::vector<float>& embedding() const { return embedding_; }
  const RequestTimings& timings() const { return timings_; }
  const std::vector<int64_t>& progress() const { return progress_; }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<TokenStep> steps_;
  std::vector<int64_t> progress_;
  std::vector<float> embedding_;
  std::optional<std::chrono::steady_clock::time_point> ended_;
  std::optional<Result<GenerateResult>> result_;
  RequestTimings timings_;
};

struct Running {
  std::shared_ptr<Heard> heard = std::make_shared<Heard>();
  std::shared_ptr<RequestHandle> handle;
};

inline Running submit(Scheduler& scheduler, GenerateRequest request) {
  Running running;
  auto handle = scheduler.submit(std::move(request), running.heard);
  EXPECT_TRUE(handle.ok()) << handle.error().message;
  if (handle.ok()) running.handle = *handle;
  return running;
}

inline std::vector<int32_t> some_ids(int64_t count, int64_t vocabulary, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids;
  while (static_cast<int64_t>(ids.size()) < count)
    ids.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(vocabulary)));
  return ids;
}

// Requests of all kinds: greedy, drawn with a seed, with penalties; short and long prompts.
inline GenerateRequest request_number(int i, int64_t vocabulary, int64_t tokens) {
  GenerateRequest request;
  request.prompt = some_ids(3 + i * 17 % 90, vocabulary, static_cast<unsigned>(100 + i));
  request.options.max_tokens = tokens;
  request.options.sampling.ignore_eos = true;
  request.options.sampling.seed = static_cast<uint64_t>(7 + i);
  if (i % 3 == 0) request.options.sampling.temp = 0;
  if (i % 3 == 2) request.options.sampling.repeat_penalty = 1.2f;
  request.logprobs = true;
  request.n_probs = i % 4;
  request.id = "request " + std::to_string(i);
  return request;
}

// The same request, alone, on a sequence.
inline GenerateResult alone(Engine& engine, const GenerateRequest& request) {
  auto sequence = engine.new_sequence().value();
  auto result = sequence->generate(request.prompt, request.options);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? *result : GenerateResult{};
}

}  // namespace moxie::golden

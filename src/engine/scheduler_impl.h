// The inside of the scheduler: what a request becomes, and the thread that takes all of them through the model.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/answer.h"
#include "engine/engine_impl.h"
#include "engine/scheduler.h"
#include "model/kv_cache.h"

namespace moxie {

struct SchedulerJob;
using SchedulerClock = std::chrono::steady_clock;

// What the queue's threads share, alive as long as a handle is.
struct SchedulerGate {
  std::mutex mutex;
  std::condition_variable wake;                       // of the scheduler's thread
  std::condition_variable idle;                       // of drain()
  std::deque<std::shared_ptr<SchedulerJob>> queue;    // those that wait, first come first
  std::deque<std::shared_ptr<SchedulerJob>> left;     // cancelled while they waited, not told yet
  std::vector<std::shared_ptr<SchedulerJob>> active;  // in slots
  std::atomic<bool> has_left{false};
  bool open = true;       // requests are taken
  bool stopping = false;  // the thread is to end

  // REQUIRES: mutex is held.
  void cancel_all();
  bool all_ended() const { return queue.empty() && left.empty() && active.empty(); }
  void tell_idle() {
    if (all_ended()) idle.notify_all();
  }
};

// One request, from submit() to on_end(). What follows `answer` belongs to the scheduler's thread.
struct SchedulerJob final : public RequestHandle {
  SchedulerJob(std::shared_ptr<SchedulerGate> g, GenerateRequest r, std::shared_ptr<RequestListener> l)
      : gate(std::move(g)), request(std::move(r)), listener(std::move(l)) {}
  void cancel() override;

  const std::shared_ptr<SchedulerGate> gate;
  const GenerateRequest request;
  const std::shared_ptr<RequestListener> listener;
  std::atomic<bool> cancelled{false};
  const SchedulerClock::time_point submitted = SchedulerClock::now();
  int64_t reserved_tokens = 0;  // of the context, that it may come to hold

  std::optional<Answer> answer;  // none: an embedding
  int slot = -1;
  SchedulerClock::time_point admitted, prompt_done;
  std::unique_ptr<KvCache> state;
  std::vector<int32_t> ids;  // everything in its context; those beyond state->tokens() are to be computed
  bool drawing = false;      // the prompt is computed
  std::vector<double> pooled;
  RequestTimings timings;
  GenerateResult result;

  int64_t pending() const { return static_cast<int64_t>(ids.size()) - state->tokens(); }
};

struct Scheduler::Impl final : public LayerVisitor {
  using Job = SchedulerJob;
  using JobPtr = std::shared_ptr<SchedulerJob>;

  // What one job gives to a step: `count` of its pending tokens, of which the last `drafts` are guesses.
  struct Share {
    JobPtr job;
    int64_t count;
    int64_t drafts = 0;
  };

  Impl(Engine::Impl& e, const SchedulerOptions& o);
  ~Impl() override;

  // Any thread.
  Result<JobPtr> check(GenerateRequest request, std::shared_ptr<RequestListener> listener);
  Result<void> check_answer(const GenerateRequest& request) const;
  Result<void> check_prompt(const GenerateRequest& request) const;
  int64_t reserve_for(const GenerateRequest& request) const;

  // The scheduler's thread.
  void loop();
  void step();
  void tell_left();
  void leave_cancelled();
  void admit();
  int slot_for(const Job& job) const;
  void start(const JobPtr& job, int slot);
  void compose(std::vector<Share>& shares);
  void share_prompts(std::vector<Share>& shares, int64_t room);
  void compute(std::vector<Share>& shares);
  void on_layer(ForwardPass& pass, int64_t layer) override;
  void pool_rows(Job& job, const float* rows, int64_t count) const;
  void take_logits(const std::vector<Share>& shares);
  bool take_row(Job& job, const Share& share, int64_t index, std::span<const float> logits);
  void begin_answer(Job& job);
  bool draw(Job& job, std::span<const float> logits, int32_t* id);
  void shift(Job& job);
  void give(Job& job, const Answer::Piece& piece, std::span<const float> logits);
  void finish_embedding(Job& job);
  void end(Job& job, StopReason reason);
  void finish(Job& job, const Result<GenerateResult>& result);
  void publish();

  Engine::Impl& engine;
  const SchedulerOptions options;
  const std::shared_ptr<SchedulerGate> gate = std::make_shared<SchedulerGate>();
  int64_t kv_tokens = 0;  // that all sequences together may hold

  // The scheduler's thread alone.
  std::vector<JobPtr> slots;  // null: free
  std::vector<JobPtr> order;  // running, first admitted first
  std::vector<BatchSegment> segments;
  std::vector<Share> shares;              // of the step
  std::vector<Share>* passing = nullptr;  // of the pass that runs
  std::vector<float> logit_rows;          // gathered, (kLogitRows, hidden)
  int64_t reserved = 0;                   // tokens promised to running jobs
  size_t turn = 0;                        // who is first where not all fit into a step
  double prompt_token_seconds = 0;        // lately; 0: not known
  double decode_seconds = 0;              // of a step without prompts, lately

  mutable std::mutex seen_mutex;  // of what follows
  std::vector<SlotInfo> seen_slots;
  SchedulerStats seen;
  double mean_seconds = 0;  // of a request in its slot
  SchedulerClock::time_point experts_seen;

  std::thread thread;  // last: it uses all of the above
};

}  // namespace moxie

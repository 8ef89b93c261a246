// The inside of the scheduler: what a request becomes, and the thread that takes all of them through the model.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/answer.h"
#include "engine/block_store.h"
#include "engine/engine_impl.h"
#include "engine/prefix_cache.h"
#include "engine/prompt_lookup.h"
#include "engine/scheduler.h"
#include "model/kv_cache.h"

namespace moxie {

struct SchedulerJob;
using SchedulerClock = std::chrono::steady_clock;

// What callers and the scheduler's thread share, alive as long as a handle is.
struct SchedulerGate {
  std::mutex mutex;
  std::condition_variable wake;                       // of the scheduler's thread
  std::condition_variable idle;                       // of drain(), and of those that sent an errand
  std::deque<std::shared_ptr<SchedulerJob>> queue;    // those that wait, first come first
  std::deque<std::shared_ptr<SchedulerJob>> left;     // cancelled while they waited, not told yet
  std::vector<std::shared_ptr<SchedulerJob>> active;  // in slots
  std::deque<std::function<void()>> errands;          // for the scheduler's thread, between two steps
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

// One request, from submit() to on_end(). What follows `reserved_tokens` belongs to the scheduler's thread.
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
  std::vector<int32_t> ids;            // everything in its context; those beyond state->tokens() are to be computed
  int64_t guesses = 0;                 // of ids, the last ones that nothing is known of yet
  bool restoring = false;              // its beginning is looked for in the prefix cache
  bool drawing = false;                // the prompt is computed
  bool passing = false;                // it is in a pass that goes on
  std::weak_ptr<SchedulerJob> leader;  // computes the first led_tokens of the prompt already
  int64_t led_tokens = 0;
  DraftLength draft{0};
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
    int64_t outputs = 0;  // rows that the step leaves of it, see BatchSegment
  };
  // A step, and the memory it is computed in.
  struct Round {
    Workspace* workspace = nullptr;
    std::vector<Share> shares;
    std::vector<BatchSegment> segments;
  };

  Impl(Engine::Impl& e, const SchedulerOptions& o);
  ~Impl() override;
  Result<void> prepare();

  // Any thread (scheduler.cpp).
  Result<JobPtr> check(GenerateRequest request, std::shared_ptr<RequestListener> listener);
  Result<void> check_answer(const GenerateRequest& request) const;
  Result<void> check_prompt(const GenerateRequest& request) const;
  int64_t reserve_for(const GenerateRequest& request) const;
  void run_between_steps(const std::function<void()>& errand);

  // The scheduler's thread: who runs, and what goes into a step (scheduler_step.cpp).
  void loop();
  void step();
  void run_errands();
  void tell_left();
  void leave_cancelled();
  void admit();
  int slot_for(const Job& job) const;
  void start(const JobPtr& job, int slot);
  void compose(Round& round, bool side);
  void add_drafts(Share& share, int64_t room) const;
  void share_prompts(Round& round, int64_t room) const;
  bool waits_for_leader(const Job& job) const;
  Result<void> reserve(Job& job, int64_t count);
  void compute(Round& round);
  void measure(const Round& round, int64_t prompt_tokens, double seconds);
  void on_layer(ForwardPass& pass, int64_t layer) override;
  void side_step();
  void see_experts();
  void publish();

  // What a prompt need not compute (scheduler_reuse.cpp).
  bool may_reuse(const Job& job) const { return cache != nullptr && job.request.cache_prompt && job.pooled.empty(); }
  void find_leader(Job& job) const;
  void look_for_prefixes();
  void reuse(Job& job);
  void keep(Job& job, bool tail);
  std::string describe(const Job& job, const PrefixCache::Match& match) const;
  Result<SlotFileResult> save(int slot, const std::string& path);
  Result<SlotFileResult> restore(int slot, const std::string& path);
  Result<int64_t> erase(int slot);
  Result<void> check_slot(int slot) const;

  // What comes of a step (scheduler_answer.cpp).
  void take_states(Round& round);
  void take_logits(Round& round);
  void pool_rows(Job& job, const float* rows, int64_t count) const;
  bool take_row(Job& job, const Share& share, int64_t index, std::span<const float> logits);
  void begin_answer(Job& job);
  bool draw(Job& job, std::span<const float> logits, int32_t* id);
  void shift(Job& job);
  void drop_guesses(Job& job);
  void give(Job& job, const Answer::Piece& piece, std::span<const float> logits);
  void finish_embedding(Job& job);
  void end(Job& job, StopReason reason);
  void finish(Job& job, const Result<GenerateResult>& result);
  void count(const Job& job, const Result<GenerateResult>& result, double slot_seconds);

  Engine::Impl& engine;
  const SchedulerOptions options;
  const std::shared_ptr<SchedulerGate> gate = std::make_shared<SchedulerGate>();
  int64_t kv_blocks = 0;   // that all sequences and the prefix cache together may hold
  bool streaming = false;  // experts come and go

  // The scheduler's thread alone.
  std::unique_ptr<BlockStore> store;
  std::unique_ptr<PrefixCache> cache;
  std::string fingerprint;
  std::vector<JobPtr> slots;                   // null: free
  std::vector<std::vector<int32_t>> slot_ids;  // of each slot's last request
  std::vector<JobPtr> order;                   // running, first admitted first
  Workspace side_workspace;                    // for steps between two layers of a long prompt, where experts stream
  Round main_round, side_round;
  Round* round = nullptr;           // whose pass runs
  std::vector<float> logit_rows;    // gathered, (kLogitRows, hidden)
  int64_t reserved = 0;             // tokens promised to running jobs
  size_t turn = 0;                  // who is first where not all fit into a step
  double prompt_token_seconds = 0;  // lately; 0: not known
  double decode_seconds = 0;        // of a step without prompts, lately
  int64_t blocks_in_use = 0;        // of the pool, after the last step
  SchedulerClock::time_point side_end;
  SchedulerClock::duration side_duration{};

  mutable std::mutex seen_mutex;  // of what follows
  std::vector<SlotInfo> seen_slots;
  SchedulerStats seen;
  double mean_seconds = 0;  // of a request in its slot
  SchedulerClock::time_point experts_seen;

  std::thread thread;  // last: it uses all of the above
};

inline double seconds_between(SchedulerClock::time_point from, SchedulerClock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace moxie

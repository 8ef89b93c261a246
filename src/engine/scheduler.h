// Requests of many clients on one engine: continuous batching. All running sequences go through the model together, one
// step after the other; prompts are taken in chunks between the tokens of the others. A request's answer never depends
// on its neighbours, on what the prefix cache held, or on speculation.
//
// Threads: one thread of the scheduler's own computes. submit(), RequestHandle::cancel() and everything that only looks
// may be called from any thread at any time and return at once; save, restore and erase of a slot wait for the running
// step. Listeners are called on the scheduler's thread while it holds the engine: they must return soon, and must not
// call Engine::expert_stats, the slot functions or drain() (submit, cancel and the snapshots are allowed).
//
// The engine is opened with EngineOptions::parallel sequences, so that the memory budget holds all of them, and
// EngineOptions::prefix_cache_bytes beyond. One scheduler an engine; Sequences beside it take of the same blocks, and
// fail where none is free.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "moxie/engine.h"

namespace moxie {

// What becomes of the states after the final norm, for requests that want a vector instead of an answer.
enum class Pooling : uint8_t { none, mean, last };

struct GenerateRequest {
  std::vector<int32_t> prompt;  // what stands at its start counts for reuse: keep lines that change out of it
  GenerateOptions options;
  bool logprobs = false;            // TokenStep::logprob is wanted (implied by n_probs > 0)
  int n_probs = 0;                  // so many of the likeliest tokens with each step
  bool cache_prompt = true;         // false: neither uses nor feeds the prefix cache
  int slot = -1;                    // wait for this slot; -1: any
  Pooling pooling = Pooling::none;  // not none: no token is drawn, on_embedding() gets the vector
  std::string id;                   // for the log and slots()
};

// Of the model's own distribution: natural logarithms, before any sampler or grammar.
struct TokenProb {
  int32_t id = -1;
  float logprob = 0;
};

struct TokenStep {
  int32_t id = -1;             // -1: no token, only text that was held back
  std::string text;            // whole characters, maybe empty: held back until a stop text is decided
  float logprob = 0;           // with logprobs, where there is an id
  std::vector<TokenProb> top;  // n_probs of them, likeliest first
};

struct RequestTimings {
  double queue_seconds = 0;     // until a slot was free
  double prompt_seconds = 0;    // from there to the logits of the prompt's last token
  double generate_seconds = 0;  // from there to the end
  int64_t prompt_tokens = 0;    // all of the prompt; of these
  int64_t cached_tokens = 0;    // were taken from the prefix cache
  int64_t computed_tokens = 0;  // were computed
  int64_t generated_tokens = 0;
  int64_t drafted_tokens = 0, accepted_tokens = 0;  // by prompt lookup
  int slot = -1;                                    // -1: it ended in the queue
  std::string reuse;                                // where reuse of the prompt ended and why, one line
};

// on_end() is the last call, and always comes, also after a failure or drain().
class RequestListener {
 public:
  virtual ~RequestListener() = default;
  virtual void on_prompt_progress(int64_t /*done*/, int64_t /*total*/) {}  // cached tokens count as done
  virtual void on_token(const TokenStep& /*step*/) {}
  virtual void on_embedding(std::span<const float> /*vector*/) {}  // (hidden), not normalised
  // An answer that was cancelled is a result with StopReason::cancelled, and holds what there is.
  virtual void on_end(const Result<GenerateResult>& /*result*/, const RequestTimings& /*timings*/) {}
};

// Dropping it does not cancel. It may outlive the scheduler.
class RequestHandle {
 public:
  virtual ~RequestHandle() = default;
  // The request leaves its place in the queue at once, a prompt or an answer at the next layer; nothing of it is
  // computed after that. on_end() follows. Calls after the end do nothing.
  virtual void cancel() = 0;
};

struct SchedulerOptions {
  int parallel = 1;                 // slots: sequences that run at once
  int queue_limit = 256;            // requests that wait; more are refused
  int64_t prefix_cache_bytes = -1;  // blocks that the prefix cache may hold at most; 0: none; -1: whatever no running
                                    // sequence needs
  std::string cache_disk;           // folder for blocks of the prefix cache between runs; empty: none
  int64_t cache_disk_bytes = int64_t{4} << 30;  // the most it may take there
  int draft_ngram = 0;  // tokens guessed at once by looking the last ones up in the text so far; 0: off. Has no effect
                        // where experts stream from disk
};

struct SlotInfo {
  int id = 0;
  bool busy = false;
  std::string request;         // id of the running request, or of the last one
  int64_t context_tokens = 0;  // that it may hold
  int64_t tokens = 0;          // in its context
  int64_t prompt_tokens = 0, prompt_done = 0, cached_tokens = 0;
  int64_t generated = 0, max_tokens = -1;
  bool speculative = false;
  GenerateOptions options;  // of that request
};

struct SchedulerStats {
  int waiting = 0, running = 0, parallel = 0;
  uint64_t requests = 0, refused = 0, cancelled = 0, failed = 0, finished = 0;
  uint64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;  // computed, reused, drawn
  uint64_t drafted_tokens = 0, accepted_tokens = 0;
  double prompt_seconds = 0, generate_seconds = 0;  // sums over requests that ended
  uint64_t steps = 0;                               // through the model
  uint64_t step_sequences = 0;                      // sequences in them, summed
  double step_seconds = 0;
  uint64_t kv_bytes = 0, kv_limit_bytes = 0;  // blocks in use, those of the prefix cache included
  uint64_t prefix_cache_bytes = 0, prefix_cache_hits = 0, prefix_cache_misses = 0, prefix_cache_evictions = 0;
  uint64_t disk_cache_bytes = 0, disk_cache_loaded = 0, disk_cache_damaged = 0;  // bytes, blocks, blocks
  ExpertStats experts;                                                           // at most a second old
};

struct SlotFileResult {
  int64_t tokens = 0;
  uint64_t bytes = 0;
  double seconds = 0;
};

class Scheduler {
 public:
  // What of the options needs no engine. Errors: invalid_argument.
  static Result<void> check(const SchedulerOptions& options);
  // The engine must outlive the scheduler. Errors: invalid_argument for options out of range, an engine without a
  // model; io for a cache_disk that cannot be used.
  static Result<std::unique_ptr<Scheduler>> create(Engine& engine, const SchedulerOptions& options);
  ~Scheduler();  // cancels what is left

  // Errors: invalid_argument for a prompt that is empty, does not fit the context or holds an unknown id, for sampling
  // options out of range, for a grammar that does not parse; unavailable when the queue is full or after drain().
  Result<std::shared_ptr<RequestHandle>> submit(GenerateRequest request, std::shared_ptr<RequestListener> listener);
  // Seconds after which a place in the queue is likely, for Retry-After; at least 1.
  int retry_after_seconds() const;

  std::vector<SlotInfo> slots() const;
  SchedulerStats stats() const;

  // A slot's context to a file and back: the tokens of its last request as far as they are still cached. The caller
  // answers for the path. Errors: invalid_argument for a slot that is not there or is another model's file, unavailable
  // while the slot is busy, corrupt, io.
  Result<SlotFileResult> save_slot(int slot, const std::string& path);
  Result<SlotFileResult> restore_slot(int slot, const std::string& path);
  Result<int64_t> erase_slot(int slot);  // tokens forgotten

  // Takes no more requests and waits until all that are there have ended, at most so long; then cancels the rest.
  void drain(double seconds);

  struct Impl;

 private:
  explicit Scheduler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace moxie

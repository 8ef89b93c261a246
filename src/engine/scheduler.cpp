#include "engine/scheduler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/fail.h"
#include "engine/kv_identity.h"
#include "engine/memory_ledger.h"
#include "engine/scheduler_impl.h"

namespace moxie {
namespace {

constexpr int kMaxParallel = 1024, kMaxQueue = 1 << 20, kMaxDraft = 64;
constexpr int kMaxProbs = 1 << 20;

}  // namespace

void SchedulerJob::cancel() {
  const std::lock_guard lock(gate->mutex);
  cancelled.store(true, std::memory_order_relaxed);
  const auto at =
      std::find_if(gate->queue.begin(), gate->queue.end(), [&](const auto& job) { return job.get() == this; });
  if (at != gate->queue.end()) {
    gate->left.push_back(std::move(*at));
    gate->queue.erase(at);
    gate->has_left = true;
  }
  gate->wake.notify_one();
}

Scheduler::Scheduler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Scheduler::~Scheduler() = default;

Result<void> Scheduler::check(const SchedulerOptions& options) {
  if (options.parallel < 1 || options.parallel > kMaxParallel) {
    return fail(ErrorCode::invalid_argument, "{} sequences at once are out of range; give 1 to {}", options.parallel,
                kMaxParallel);
  }
  if (options.queue_limit < 0 || options.queue_limit > kMaxQueue) {
    return fail(ErrorCode::invalid_argument, "a queue of {} requests is out of range; give 0 to {}",
                options.queue_limit, kMaxQueue);
  }
  if (options.draft_ngram < 0 || options.draft_ngram > kMaxDraft) {
    return fail(ErrorCode::invalid_argument, "drafts of {} tokens are out of range; give 0 (off) to {}",
                options.draft_ngram, kMaxDraft);
  }
  if (options.cache_disk_bytes < 0) {
    return fail(ErrorCode::invalid_argument, "a disk cache of {} bytes is none; give 0 or more",
                options.cache_disk_bytes);
  }
  return {};
}

Result<std::unique_ptr<Scheduler>> Scheduler::create(Engine& engine, const SchedulerOptions& options) {
  if (!engine.impl_->model) return fail(ErrorCode::invalid_argument, "the engine was opened for its vocabulary only");
  MOXIE_TRY_VOID(check(options));
  auto impl = std::make_unique<Impl>(*engine.impl_, options);
  MOXIE_TRY_VOID(impl->prepare());
  impl->thread = std::thread([raw = impl.get()] { raw->loop(); });
  return std::unique_ptr<Scheduler>(new Scheduler(std::move(impl)));
}

Scheduler::Impl::Impl(Engine::Impl& e, const SchedulerOptions& o) : engine(e), options(o) {
  const auto count = static_cast<size_t>(options.parallel);
  slots.resize(count);
  slot_ids.resize(count);
  seen_slots.resize(count);
  for (size_t i = 0; i < count; ++i) {
    seen_slots[i].id = static_cast<int>(i);
    seen_slots[i].context_tokens = engine.runtime.context_tokens;
  }
  logit_rows.resize(static_cast<size_t>(Engine::Impl::kLogitRows * engine.model->hp().hidden));
  const uint64_t block_bytes = engine.kv_pool->layout().block_bytes();
  kv_blocks = static_cast<int64_t>(engine.memory.kv / block_bytes);
  seen.parallel = options.parallel;
  seen.kv_limit_bytes = static_cast<uint64_t>(kv_blocks) * block_bytes;
  const StreamedExperts* streamed = engine.model->streamed();
  streaming = streamed != nullptr && !streamed->layout().complete;
  main_round.workspace = &engine.workspace;
  side_round.workspace = &side_workspace;
}

// What may fail of the beginning.
Result<void> Scheduler::Impl::prepare() {
  if (streaming && options.parallel > 1) {
    const int64_t tokens = side_batch_tokens(options.parallel);
    MOXIE_TRY(side_workspace, Workspace::create(engine.model->hp(), tokens, tokens));
  }
  if (streaming && options.draft_ngram > 0) {
    engine.log.notice(
        "draft-ngram has no effect: experts stream from disk, and every guess would want some of its own");
  }
  if (engine.lossy != nullptr && options.prefix_cache_bytes != 0) {
    engine.log.notice(fmt::format("there is no prefix cache: with {} what is computed depends on what is in memory",
                                  engine.lossy->name()));
  }
  const uint64_t block_bytes = engine.kv_pool->layout().block_bytes();
  int64_t blocks = kv_blocks;
  if (options.prefix_cache_bytes >= 0) {
    blocks = std::min(blocks, static_cast<int64_t>(static_cast<uint64_t>(options.prefix_cache_bytes) / block_bytes));
  }
  const std::lock_guard lock(engine.step);
  engine.kv_pool->set_limit(kv_blocks);
  if (blocks == 0 || engine.lossy != nullptr) return {};
  fingerprint = kv_fingerprint(engine);
  if (!options.cache_disk.empty()) {
    MOXIE_TRY(store, BlockStore::open(options.cache_disk, fingerprint, static_cast<uint64_t>(options.cache_disk_bytes),
                                      engine.log));
  }
  cache = std::make_unique<PrefixCache>(*engine.kv_pool, blocks, store.get());
  return {};
}

Result<void> Scheduler::Impl::check_prompt(const GenerateRequest& request) const {
  const int64_t context = engine.runtime.context_tokens;
  if (request.prompt.empty())
    return fail(ErrorCode::invalid_argument, "there is nothing to continue: the prompt is empty");
  if (static_cast<int64_t>(request.prompt.size()) > context) {
    return fail(ErrorCode::invalid_argument, "the prompt has {} tokens, and the context holds {}; give a larger -c",
                request.prompt.size(), context);
  }
  for (const int32_t id : request.prompt) {
    if (id < 0 || id >= engine.model->hp().vocabulary) {
      return fail(ErrorCode::invalid_argument, "token id {} is outside the vocabulary of {}", id,
                  engine.model->hp().vocabulary);
    }
  }
  if (request.slot < -1 || request.slot >= options.parallel) {
    return fail(ErrorCode::invalid_argument, "there is no slot {}; there are {}", request.slot, options.parallel);
  }
  if (request.n_probs < 0 || request.n_probs > kMaxProbs) {
    return fail(ErrorCode::invalid_argument, "n_probs is {}; it must lie between 0 and {}", request.n_probs, kMaxProbs);
  }
  return {};
}

Result<void> Scheduler::Impl::check_answer(const GenerateRequest& request) const {
  MOXIE_TRY(const Answer answer, Answer::create(engine, request.options));
  return {};
}

// What the sequence may come to hold, in whole blocks: with it promised, nothing that runs has to wait for memory.
int64_t Scheduler::Impl::reserve_for(const GenerateRequest& request) const {
  const int64_t context = engine.runtime.context_tokens, prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t more = request.pooling != Pooling::none ? 0 : request.options.max_tokens;
  const int64_t wanted = more < 0 || more > context - prompt ? context : prompt + more;
  constexpr int64_t kBlock = KvLayout::kBlockTokens;
  return (wanted + kBlock - 1) / kBlock * kBlock;
}

Result<Scheduler::Impl::JobPtr> Scheduler::Impl::check(GenerateRequest request,
                                                       std::shared_ptr<RequestListener> listener) {
  MOXIE_TRY_VOID(check_prompt(request));
  if (!listener) listener = std::make_shared<RequestListener>();
  auto job = std::make_shared<SchedulerJob>(gate, std::move(request), std::move(listener));
  job->reserved_tokens = reserve_for(job->request);
  if (job->reserved_tokens > kv_blocks * KvLayout::kBlockTokens) {
    return fail(ErrorCode::invalid_argument,
                "the prompt and its answer may take {} tokens, and the memory for all sequences holds {}; ask for "
                "fewer tokens, or give more memory",
                job->reserved_tokens, kv_blocks * KvLayout::kBlockTokens);
  }
  // A waiting request keeps no buffers: this only sees that its options work, and has its grammar compiled.
  if (job->request.pooling == Pooling::none) {
    MOXIE_TRY_VOID(check_answer(job->request));
  }
  return job;
}

Result<std::shared_ptr<RequestHandle>> Scheduler::submit(GenerateRequest request,
                                                         std::shared_ptr<RequestListener> listener) {
  MOXIE_TRY(auto job, impl_->check(std::move(request), std::move(listener)));
  const std::lock_guard lock(impl_->gate->mutex);
  SchedulerGate& gate = *impl_->gate;
  if (!gate.open) return fail(ErrorCode::unavailable, "the server is shutting down");
  if (static_cast<int>(gate.queue.size()) >=
      impl_->options.queue_limit + impl_->options.parallel - static_cast<int>(gate.active.size())) {
    const std::lock_guard seen_lock(impl_->seen_mutex);
    ++impl_->seen.refused;
    return fail(ErrorCode::unavailable, "{} requests wait already, as many as may; try again in a while",
                gate.queue.size());
  }
  gate.queue.push_back(job);
  gate.wake.notify_one();
  return std::shared_ptr<RequestHandle>(std::move(job));
}

int Scheduler::retry_after_seconds() const {
  const std::lock_guard lock(impl_->seen_mutex);
  // One of the running requests ends after this share of their mean time.
  const double seconds = impl_->mean_seconds / std::max(1, impl_->options.parallel);
  return static_cast<int>(std::clamp(std::ceil(seconds), 1.0, 600.0));
}

std::vector<SlotInfo> Scheduler::slots() const {
  const std::lock_guard lock(impl_->seen_mutex);
  return impl_->seen_slots;
}

SchedulerStats Scheduler::stats() const {
  int waiting = 0, running = 0;  // as they are now: after drain() nothing runs
  {
    const std::lock_guard lock(impl_->gate->mutex);
    waiting = static_cast<int>(impl_->gate->queue.size());
    running = static_cast<int>(impl_->gate->active.size());
  }
  const std::lock_guard lock(impl_->seen_mutex);
  SchedulerStats stats = impl_->seen;
  stats.waiting = waiting;
  stats.running = running;
  return stats;
}

void SchedulerGate::cancel_all() {
  for (auto& job : queue) {
    job->cancelled.store(true, std::memory_order_relaxed);
    left.push_back(std::move(job));
  }
  queue.clear();
  has_left = !left.empty();
  for (const auto& job : active) job->cancelled.store(true, std::memory_order_relaxed);
}

void Scheduler::drain(double seconds) {
  SchedulerGate& gate = *impl_->gate;
  std::unique_lock lock(gate.mutex);
  gate.open = false;
  const auto all_ended = [&] { return gate.all_ended(); };
  if (gate.idle.wait_for(lock, std::chrono::duration<double>(std::max(0.0, seconds)), all_ended)) return;
  gate.cancel_all();
  gate.wake.notify_one();
  gate.idle.wait(lock, all_ended);
}

Scheduler::Impl::~Impl() {
  {
    const std::lock_guard lock(gate->mutex);
    gate->open = false;
    gate->stopping = true;
    gate->cancel_all();
    gate->wake.notify_one();
  }
  if (thread.joinable()) thread.join();
  const std::lock_guard lock(engine.step);  // the pool of blocks is shared
  cache.reset();
  store.reset();
  engine.kv_pool->set_limit(std::numeric_limits<int32_t>::max());
}

// Where the scheduler's thread alone may look; waits for it.
void Scheduler::Impl::run_between_steps(const std::function<void()>& errand) {
  bool done = false;  // of the gate's mutex, as the condition is: neither is touched after this function has seen it
  std::unique_lock lock(gate->mutex);
  gate->errands.emplace_back([&] {
    errand();
    const std::lock_guard finished(gate->mutex);
    done = true;
    gate->idle.notify_all();
  });
  gate->wake.notify_one();
  gate->idle.wait(lock, [&] { return done; });
}

Result<SlotFileResult> Scheduler::save_slot(int slot, const std::string& path) {
  Result<SlotFileResult> result = SlotFileResult{};
  impl_->run_between_steps([&] { result = impl_->save(slot, path); });
  return result;
}

Result<SlotFileResult> Scheduler::restore_slot(int slot, const std::string& path) {
  Result<SlotFileResult> result = SlotFileResult{};
  impl_->run_between_steps([&] { result = impl_->restore(slot, path); });
  return result;
}

Result<int64_t> Scheduler::erase_slot(int slot) {
  Result<int64_t> result = int64_t{0};
  impl_->run_between_steps([&] { result = impl_->erase(slot); });
  return result;
}

}  // namespace moxie

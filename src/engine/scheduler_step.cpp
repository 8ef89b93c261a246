// The scheduler's thread: who runs, and what goes into a step.
#include <algorithm>
#include <cmath>

#include "core/fail.h"
#include "engine/memory_ledger.h"
#include "engine/scheduler_impl.h"

namespace moxie {
namespace {

using Clock = SchedulerClock;

// Prompts that share a step: the oldest, and of the others those that are done soonest.
constexpr size_t kPromptsAtOnce = 4;
// How long prompts may hold up the tokens of others in one step.
constexpr double kPromptSeconds = 0.25;
constexpr int64_t kLeastPromptTokens = 16, kFirstPromptTokens = 64;
constexpr auto kExpertsAge = std::chrono::seconds(1);

// The latest measurements count most.
void blend(double& mean, double value) {
  mean = mean == 0 ? value : 0.75 * mean + 0.25 * value;
}

}  // namespace

void Scheduler::Impl::loop() {
  for (;;) {
    {
      std::unique_lock lock(gate->mutex);
      gate->wake.wait(lock, [&] { return gate->stopping || !gate->errands.empty() || !gate->all_ended(); });
      if (gate->stopping && gate->errands.empty() && gate->all_ended()) return;
    }
    step();
  }
}

void Scheduler::Impl::step() {
  tell_left();
  {
    const std::lock_guard lock(engine.step);
    run_errands();
    leave_cancelled();
    admit();
    look_for_prefixes();
    compose(main_round, false);
    if (!main_round.shares.empty()) compute(main_round);
    main_round.shares.clear();
    blocks_in_use = engine.kv_pool->blocks_in_use();
    publish();
  }
}

void Scheduler::Impl::run_errands() {
  for (;;) {
    std::function<void()> errand;
    {
      const std::lock_guard lock(gate->mutex);
      if (gate->errands.empty()) return;
      errand = std::move(gate->errands.front());
      gate->errands.pop_front();
    }
    errand();
  }
}

// Those that were cancelled in the queue.
void Scheduler::Impl::tell_left() {
  if (!gate->has_left) return;
  for (;;) {
    JobPtr job;
    {
      const std::lock_guard lock(gate->mutex);
      gate->has_left = !gate->left.empty();
      if (gate->left.empty()) break;
      job = gate->left.front();
    }
    end(*job, StopReason::cancelled);
    const std::lock_guard lock(gate->mutex);
    gate->left.pop_front();
    gate->tell_idle();
  }
}

void Scheduler::Impl::leave_cancelled() {
  const std::vector<JobPtr> running = order;
  for (const JobPtr& job : running) {
    if (!job->passing && job->cancelled.load(std::memory_order_relaxed)) end(*job, StopReason::cancelled);
  }
}

int Scheduler::Impl::slot_for(const Job& job) const {
  if (job.request.slot >= 0) return slots[static_cast<size_t>(job.request.slot)] ? -1 : job.request.slot;
  const auto free = std::find(slots.begin(), slots.end(), nullptr);
  return free == slots.end() ? -1 : static_cast<int>(free - slots.begin());
}

// First come, first served, but for those that wait for a slot of their own: they let others pass. Memory is promised
// for all that a request may come to need, so that nothing that runs has to wait or to give way.
void Scheduler::Impl::admit() {
  for (;;) {
    JobPtr job;
    int slot = -1;
    {
      const std::lock_guard lock(gate->mutex);
      for (auto at = gate->queue.begin(); at != gate->queue.end(); ++at) {
        slot = slot_for(**at);
        if (slot < 0 && (*at)->request.slot >= 0) continue;
        if (slot < 0 || reserved + (*at)->reserved_tokens > kv_blocks * KvLayout::kBlockTokens) return;
        job = std::move(*at);
        gate->queue.erase(at);
        gate->active.push_back(job);
        break;
      }
    }
    if (!job) return;
    start(job, slot);
  }
}

void Scheduler::Impl::start(const JobPtr& job, int slot) {
  job->slot = slot;
  job->admitted = Clock::now();
  job->timings.slot = slot;
  job->timings.queue_seconds = seconds_between(job->submitted, job->admitted);
  job->timings.prompt_tokens = static_cast<int64_t>(job->request.prompt.size());
  reserved += job->reserved_tokens;
  slots[static_cast<size_t>(slot)] = job;
  slot_ids[static_cast<size_t>(slot)].clear();
  order.push_back(job);
  {
    const std::lock_guard lock(seen_mutex);
    ++seen.requests;
    seen_slots[static_cast<size_t>(slot)] = {.id = slot,
                                             .busy = true,
                                             .request = job->request.id,
                                             .context_tokens = engine.runtime.context_tokens,
                                             .prompt_tokens = job->timings.prompt_tokens,
                                             .max_tokens = job->request.options.max_tokens,
                                             .speculative = options.draft_ngram > 0 && !streaming,
                                             .options = job->request.options};
  }
  job->ids = job->request.prompt;
  job->state = std::make_unique<KvCache>(*engine.kv_pool, job->reserved_tokens);
  if (job->request.pooling != Pooling::none) {
    job->pooled.assign(static_cast<size_t>(engine.model->hp().hidden), 0);
    return;
  }
  auto answer = Answer::create(engine, job->request.options);
  if (!answer.ok()) return finish(*job, std::move(answer).error());
  job->answer.emplace(std::move(answer).value());
  job->answer->remember(job->request.prompt);
  job->result.seed = job->answer->seed();
  job->draft = DraftLength(streaming ? 0 : options.draft_ngram);
  job->restoring = may_reuse(*job);
  if (job->restoring) find_leader(*job);
}

// Every sequence that has one token to compute gives it; what room is left goes to prompts.
void Scheduler::Impl::compose(Round& to, bool side) {
  to.shares.clear();
  int64_t room = to.workspace->max_tokens;
  // A prompt that wants all experts takes long where they stream: the others take their steps between its layers.
  if (!side && side_workspace.max_tokens > 0) {
    share_prompts(to, room);
    int64_t tokens = 0;
    for (const Share& share : to.shares) tokens += share.count;
    if (tokens > side_workspace.max_tokens) return;
    to.shares.clear();
  }
  ++turn;
  for (size_t i = 0; i < order.size() && room > 0; ++i) {
    const JobPtr& job = order[(i + turn) % order.size()];
    if (job->passing || job->restoring || job->pending() != 1) continue;
    to.shares.push_back({job, 1});
    --room;
  }
  for (Share& share : to.shares) {
    add_drafts(share, room);
    room -= share.drafts;
  }
  if (room == 0) return;
  if (!to.shares.empty() && !side) {
    const double affordable = prompt_token_seconds > 0 ? std::max(kPromptSeconds, decode_seconds) / prompt_token_seconds
                                                       : static_cast<double>(kFirstPromptTokens);
    room = std::min(room, std::max(kLeastPromptTokens, static_cast<int64_t>(std::min(affordable, 1e9))));
  }
  share_prompts(to, room);
}

void Scheduler::Impl::add_drafts(Share& share, int64_t room) const {
  Job& job = *share.job;
  if (!job.drawing || job.draft.length() == 0) return;
  const auto tokens = static_cast<int64_t>(job.ids.size());
  const int64_t wanted = job.request.options.max_tokens;
  int64_t most =
      std::min({room, job.draft.length(), engine.runtime.context_tokens - tokens, job.reserved_tokens - tokens});
  if (wanted >= 0) most = std::min(most, wanted - job.timings.generated_tokens - 1);
  const auto found = look_up(job.ids, most);
  const std::vector<int32_t> guessed(found.begin(), found.end());
  job.ids.insert(job.ids.end(), guessed.begin(), guessed.end());
  share.drafts = job.guesses = static_cast<int64_t>(guessed.size());
  share.count += share.drafts;
  job.timings.drafted_tokens += share.drafts;
}

void Scheduler::Impl::share_prompts(Round& to, int64_t room) const {
  std::vector<JobPtr> prompts;
  for (const JobPtr& job : order) {
    if (!job->passing && !job->restoring && job->pending() > 1 && job->guesses == 0 && !waits_for_leader(*job))
      prompts.push_back(job);
  }
  if (prompts.empty()) return;
  const auto shorter = [](const JobPtr& a, const JobPtr& b) { return a->pending() < b->pending(); };
  std::stable_sort(prompts.begin() + 1, prompts.end(), shorter);
  prompts.resize(std::min(prompts.size(), kPromptsAtOnce));
  std::stable_sort(prompts.begin(), prompts.end(), shorter);
  // Equal parts; what the short ones leave goes to the longer ones.
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto rest = static_cast<int64_t>(prompts.size() - i);
    const int64_t count = std::min(prompts[i]->pending(), (room + rest - 1) / rest);
    if (count == 0) continue;
    to.shares.push_back({prompts[i], count});
    room -= count;
  }
}

// Blocks that only the prefix cache still holds give way.
Result<void> Scheduler::Impl::reserve(Job& job, int64_t count) {
  auto made = job.state->reserve(count);
  while (!made.ok() && cache != nullptr && cache->free_one()) made = job.state->reserve(count);
  return made;
}

void Scheduler::Impl::compute(Round& to) {
  for (size_t i = to.shares.size(); i-- > 0;) {
    const JobPtr job = to.shares[i].job;
    auto made = reserve(*job, to.shares[i].count);
    if (made.ok()) continue;
    to.shares.erase(to.shares.begin() + static_cast<std::ptrdiff_t>(i));
    finish(*job, std::move(made).error());
  }
  if (to.shares.empty()) return;
  to.segments.clear();
  int64_t prompt_tokens = 0;
  for (Share& share : to.shares) {
    const Job& job = *share.job;
    const int64_t last = share.count == job.pending() ? 1 + share.drafts : 0;
    share.outputs = engine.outputs(share.count, job.request.pooling == Pooling::mean ? share.count : last);
    const auto first = static_cast<size_t>(job.state->tokens());
    to.segments.push_back(
        {job.state.get(), std::span(job.ids).subspan(first, static_cast<size_t>(share.count)), share.outputs});
    if (share.count > 1 + share.drafts) prompt_tokens += share.count;
    share.job->passing = true;
  }
  Engine::Impl::Step step = {.segments = to.segments,
                             .workspace = to.workspace,
                             .stop = to.shares.size() == 1 ? &to.shares[0].job->cancelled : nullptr,
                             .visitor = this,
                             .decoding = prompt_tokens == 0};
  Round* const outer = std::exchange(round, &to);
  const Clock::time_point start = Clock::now();
  const auto computed = engine.run(step);
  round = outer;
  for (const Share& share : to.shares) share.job->passing = false;
  if (!computed.ok()) {
    for (const Share& share : to.shares) {
      drop_guesses(*share.job);
      if (share.job->cancelled.load(std::memory_order_relaxed)) {
        end(*share.job, StopReason::cancelled);
      } else if (computed.error().code != ErrorCode::cancelled) {
        finish(*share.job, computed.error());
      }
    }
    return;
  }
  measure(to, prompt_tokens, seconds_between(start, Clock::now()));
  take_states(to);
  take_logits(to);
}

void Scheduler::Impl::measure(const Round& done, int64_t prompt_tokens, double seconds) {
  if (prompt_tokens == 0) {
    blend(decode_seconds, seconds);
  } else {
    const double of_others = done.shares.size() > 1 ? std::min(decode_seconds, seconds / 2) : 0;
    blend(prompt_token_seconds, (seconds - of_others) / static_cast<double>(prompt_tokens));
  }
  const std::lock_guard lock(seen_mutex);
  ++seen.steps;
  seen.step_sequences += done.shares.size();
  seen.step_seconds += seconds;
}

void Scheduler::Impl::on_layer(ForwardPass& pass, int64_t layer) {
  tell_left();
  std::vector<Share>& shares = round->shares;
  for (size_t i = shares.size(); i-- > 0;) {
    const JobPtr job = shares[i].job;
    if (!job->cancelled.load(std::memory_order_relaxed)) continue;
    if (shares.size() == 1) return pass.fail_with({ErrorCode::cancelled, "cancelled"});
    pass.drop_segment(i);
    shares.erase(shares.begin() + static_cast<std::ptrdiff_t>(i));
    job->passing = false;
    end(*job, StopReason::cancelled);
  }
  if (round == &main_round && layer > 0 && pass.tokens > side_workspace.max_tokens) side_step();
}

// Between two layers of a long prompt whose experts stream: a step of the others, for at most half of the time.
void Scheduler::Impl::side_step() {
  if (side_workspace.max_tokens == 0 || Clock::now() - side_end < side_duration) return;
  const Clock::time_point start = Clock::now();
  leave_cancelled();
  admit();
  look_for_prefixes();
  compose(side_round, true);
  if (side_round.shares.empty()) return;
  compute(side_round);
  side_round.shares.clear();
  side_end = Clock::now();
  side_duration = side_end - start;
  blocks_in_use = engine.kv_pool->blocks_in_use();
  publish();
}

// REQUIRES: no layer of a pass is being computed.
void Scheduler::Impl::see_experts() {
  ExpertStats experts = engine.expert_stats();
  const std::lock_guard lock(seen_mutex);
  seen.experts = std::move(experts);
  experts_seen = Clock::now();
}

void Scheduler::Impl::publish() {
  if (Clock::now() - experts_seen > kExpertsAge) see_experts();
  const std::lock_guard lock(seen_mutex);
  const auto block_bytes = static_cast<uint64_t>(engine.kv_pool->layout().block_bytes());
  seen.kv_bytes = static_cast<uint64_t>(blocks_in_use) * block_bytes;
  if (cache != nullptr) {
    seen.prefix_cache_bytes = static_cast<uint64_t>(cache->blocks()) * block_bytes;
    seen.prefix_cache_evictions = cache->counts().evictions;
    seen.disk_cache_loaded = cache->counts().loaded;
  }
  if (store != nullptr) {
    seen.disk_cache_bytes = store->bytes();
    seen.disk_cache_damaged = store->damaged();
  }
  for (const JobPtr& job : order) {
    SlotInfo& slot = seen_slots[static_cast<size_t>(job->slot)];
    slot.tokens = job->state->tokens();
    slot.prompt_done = std::min(slot.tokens, slot.prompt_tokens);
    slot.cached_tokens = job->timings.cached_tokens;
    slot.generated = job->timings.generated_tokens;
  }
}

}  // namespace moxie

// The scheduler's thread: who runs, what goes into a step, and what comes of it.
#include <algorithm>
#include <cmath>

#include "core/fail.h"
#include "engine/scheduler_impl.h"

namespace moxie {
namespace {

using Clock = SchedulerClock;

// Prompts that share a step: the oldest, and of the others those that are done soonest.
constexpr size_t kPromptsAtOnce = 4;
// How long prompts may hold up the tokens of others in one step.
constexpr double kPromptSeconds = 0.15;
constexpr int64_t kLeastPromptTokens = 16, kFirstPromptTokens = 64;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// The latest measurements count most.
void blend(double& mean, double value) {
  mean = mean == 0 ? value : 0.75 * mean + 0.25 * value;
}

TokenStep describe(const Answer::Piece& piece, const GenerateRequest& request, std::span<const float> logits) {
  TokenStep step = {.id = piece.id, .text = piece.text};
  if (piece.id < 0 || logits.empty() || (!request.logprobs && request.n_probs == 0)) return step;
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - top));
  const double base = static_cast<double>(top) + std::log(sum);
  const auto logprob = [&](size_t id) { return static_cast<float>(static_cast<double>(logits[id]) - base); };
  step.logprob = logprob(static_cast<size_t>(piece.id));
  const size_t count = std::min(static_cast<size_t>(request.n_probs), logits.size());
  if (count == 0) return step;
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  for (size_t i = 0; i < count; ++i) step.top.push_back({ids[i], logprob(static_cast<size_t>(ids[i]))});
  return step;
}

}  // namespace

Scheduler::Impl::Impl(Engine::Impl& e, const SchedulerOptions& o) : engine(e), options(o) {
  slots.resize(static_cast<size_t>(options.parallel));
  logit_rows.resize(static_cast<size_t>(Engine::Impl::kLogitRows * engine.model->hp().hidden));
  const auto block_bytes = static_cast<uint64_t>(engine.kv_pool->layout().block_bytes());
  kv_tokens = static_cast<int64_t>(engine.memory.kv / block_bytes) * KvLayout::kBlockTokens;
  seen.parallel = options.parallel;
  seen.kv_limit_bytes = engine.memory.kv;
  seen_slots.resize(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    seen_slots[i].id = static_cast<int>(i);
    seen_slots[i].context_tokens = engine.runtime.context_tokens;
  }
}

void Scheduler::Impl::loop() {
  for (;;) {
    {
      std::unique_lock lock(gate->mutex);
      gate->wake.wait(
          lock, [&] { return gate->stopping || !gate->queue.empty() || !gate->left.empty() || !gate->active.empty(); });
      if (gate->stopping && gate->queue.empty() && gate->left.empty() && gate->active.empty()) return;
    }
    step();
  }
}

void Scheduler::Impl::step() {
  tell_left();
  {
    const std::lock_guard lock(engine.step);
    leave_cancelled();
    admit();
    compose(shares);
    if (!shares.empty()) compute(shares);
    shares.clear();
  }
  publish();
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
    if (job->cancelled.load(std::memory_order_relaxed)) end(*job, StopReason::cancelled);
  }
}

int Scheduler::Impl::slot_for(const Job& job) const {
  if (job.request.slot >= 0) return slots[static_cast<size_t>(job.request.slot)] ? -1 : job.request.slot;
  const auto free = std::find(slots.begin(), slots.end(), nullptr);
  return free == slots.end() ? -1 : static_cast<int>(free - slots.begin());
}

// First come, first served, but for those that wait for a slot of their own: they let others pass.
void Scheduler::Impl::admit() {
  for (;;) {
    JobPtr job;
    int slot = -1;
    {
      const std::lock_guard lock(gate->mutex);
      for (auto at = gate->queue.begin(); at != gate->queue.end(); ++at) {
        slot = slot_for(**at);
        if (slot < 0 && (*at)->request.slot >= 0) continue;
        if (slot < 0 || reserved + (*at)->reserved_tokens > kv_tokens) return;
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
  order.push_back(job);
  {
    const std::lock_guard lock(seen_mutex);
    SlotInfo& seen_slot = seen_slots[static_cast<size_t>(slot)];
    seen_slot = {.id = slot,
                 .busy = true,
                 .request = job->request.id,
                 .context_tokens = engine.runtime.context_tokens,
                 .prompt_tokens = job->timings.prompt_tokens,
                 .max_tokens = job->request.options.max_tokens,
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
}

// Every sequence that has one token to compute gives it; what room is left goes to prompts.
void Scheduler::Impl::compose(std::vector<Share>& shares) {
  shares.clear();
  int64_t room = engine.workspace.max_tokens;
  ++turn;
  for (size_t i = 0; i < order.size() && room > 0; ++i) {
    const JobPtr& job = order[(i + turn) % order.size()];
    if (job->pending() != 1) continue;
    shares.push_back({job, 1});
    --room;
  }
  if (room == 0) return;
  if (!shares.empty()) {
    const double affordable = prompt_token_seconds > 0 ? std::max(kPromptSeconds, decode_seconds) / prompt_token_seconds
                                                       : static_cast<double>(kFirstPromptTokens);
    room = std::min(room, std::max(kLeastPromptTokens, static_cast<int64_t>(std::min(affordable, 1e9))));
  }
  share_prompts(shares, room);
}

void Scheduler::Impl::share_prompts(std::vector<Share>& shares, int64_t room) {
  std::vector<JobPtr> prompts;
  for (const JobPtr& job : order) {
    if (job->pending() > 1) prompts.push_back(job);
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
    shares.push_back({prompts[i], count});
    room -= count;
  }
}

void Scheduler::Impl::compute(std::vector<Share>& shares) {
  std::vector<std::pair<JobPtr, Error>> failed;
  std::erase_if(shares, [&](const Share& share) {
    auto made = share.job->state->reserve(share.count);
    if (!made.ok()) failed.emplace_back(share.job, std::move(made).error());
    return !made.ok();
  });
  for (const auto& [job, error] : failed) finish(*job, error);
  if (shares.empty()) return;
  segments.clear();
  int64_t prompt_tokens = 0;
  for (const Share& share : shares) {
    const auto first = static_cast<size_t>(share.job->state->tokens());
    segments.push_back(
        {share.job->state.get(), std::span(share.job->ids).subspan(first, static_cast<size_t>(share.count))});
    if (share.count > 1 + share.drafts) prompt_tokens += share.count;
  }
  Engine::Impl::Step step = {.segments = segments,
                             .workspace = &engine.workspace,
                             .stop = shares.size() == 1 ? &shares[0].job->cancelled : nullptr,
                             .visitor = this,
                             .decoding = prompt_tokens == 0};
  passing = &shares;
  const Clock::time_point start = Clock::now();
  const auto computed = engine.run(step);
  passing = nullptr;
  if (!computed.ok()) {
    for (const Share& share : shares) {
      if (share.job->cancelled.load(std::memory_order_relaxed)) {
        end(*share.job, StopReason::cancelled);
      } else if (computed.error().code != ErrorCode::cancelled) {
        finish(*share.job, computed.error());
      }
    }
    return;
  }
  const double seconds = seconds_between(start, Clock::now());
  if (prompt_tokens == 0) {
    blend(decode_seconds, seconds);
  } else {
    const double of_others = shares.size() > 1 ? std::min(decode_seconds, seconds / 2) : 0;
    blend(prompt_token_seconds, (seconds - of_others) / static_cast<double>(prompt_tokens));
  }
  {
    const std::lock_guard lock(seen_mutex);
    ++seen.steps;
    seen.step_sequences += shares.size();
    seen.step_seconds += seconds;
  }
  int64_t row = 0;
  for (const Share& share : shares) {
    Job& job = *share.job;
    job.state->commit(share.count);
    if (!job.drawing) {
      job.timings.computed_tokens += share.count;
      if (!job.pooled.empty()) pool_rows(job, engine.workspace.normed + row * engine.model->hp().hidden, share.count);
      job.listener->on_prompt_progress(job.state->tokens(), job.timings.prompt_tokens);
    }
    row += share.count;
  }
  take_logits(shares);
}

void Scheduler::Impl::on_layer(ForwardPass& pass, int64_t /*layer*/) {
  tell_left();
  for (size_t i = passing->size(); i-- > 0;) {
    const JobPtr job = (*passing)[i].job;
    if (!job->cancelled.load(std::memory_order_relaxed)) continue;
    if (passing->size() == 1) return pass.fail_with({ErrorCode::cancelled, "cancelled"});
    pass.drop_segment(i);
    passing->erase(passing->begin() + static_cast<std::ptrdiff_t>(i));
    end(*job, StopReason::cancelled);
  }
}

void Scheduler::Impl::pool_rows(Job& job, const float* rows, int64_t count) const {
  const auto hidden = static_cast<int64_t>(job.pooled.size());
  const bool last = job.request.pooling == Pooling::last;
  for (int64_t row = last ? count - 1 : 0; row < count; ++row) {
    for (int64_t i = 0; i < hidden; ++i) {
      const double value = static_cast<double>(rows[row * hidden + i]);
      double& sum = job.pooled[static_cast<size_t>(i)];
      sum = last ? value : sum + value;
    }
  }
}

// Logits of every sequence whose tokens are all computed, some rows at a time.
void Scheduler::Impl::take_logits(const std::vector<Share>& shares) {
  struct Row {
    const Share* share;
    int64_t index;  // 0: after the last token that is known; then after each guess
    int64_t row;
  };
  std::vector<Row> rows;
  int64_t begin = 0;
  for (const Share& share : shares) {
    const int64_t end = begin + share.count;
    if (share.job->pending() == 0 && share.job->request.pooling != Pooling::none) {
      finish_embedding(*share.job);
    } else if (share.job->pending() == 0) {
      for (int64_t i = 0; i <= share.drafts; ++i) rows.push_back({&share, i, end - share.drafts - 1 + i});
    }
    begin = end;
  }
  const int64_t hidden = engine.model->hp().hidden, vocabulary = engine.model->hp().vocabulary;
  const Share* done = nullptr;  // nothing more of it counts
  for (size_t first = 0; first < rows.size(); first += Engine::Impl::kLogitRows) {
    const size_t count = std::min<size_t>(rows.size() - first, Engine::Impl::kLogitRows);
    for (size_t i = 0; i < count; ++i) {
      const float* from = engine.workspace.normed + rows[first + i].row * hidden;
      std::copy(from, from + hidden, logit_rows.data() + static_cast<int64_t>(i) * hidden);
    }
    engine.compute_logits(logit_rows.data(), static_cast<int64_t>(count));
    for (size_t i = 0; i < count; ++i) {
      const Row& row = rows[first + i];
      if (row.share == done) continue;
      const std::span<const float> logits(engine.logits.data() + static_cast<int64_t>(i) * vocabulary,
                                          static_cast<size_t>(vocabulary));
      if (!take_row(*row.share->job, *row.share, row.index, logits)) done = row.share;
    }
  }
}

// One token from one row. False: later rows of the step, if any, follow a guess that was wrong, or the answer ended.
bool Scheduler::Impl::take_row(Job& job, const Share& share, int64_t index, std::span<const float> logits) {
  if (!job.drawing) begin_answer(job);
  const int64_t known = static_cast<int64_t>(job.ids.size()) - share.drafts + index;
  int32_t id = -1;
  if (!draw(job, logits, &id)) return false;
  if (index < share.drafts && job.ids[static_cast<size_t>(known)] == id) {
    ++job.timings.accepted_tokens;
    return true;
  }
  job.ids.resize(static_cast<size_t>(known));
  if (auto cut = job.state->truncate(known); !cut.ok()) {
    finish(job, cut.error());
    return false;
  }
  job.ids.push_back(id);
  if (known >= engine.runtime.context_tokens) shift(job);
  return false;
}

void Scheduler::Impl::begin_answer(Job& job) {
  job.drawing = true;
  job.prompt_done = Clock::now();
  job.timings.prompt_seconds = seconds_between(job.admitted, job.prompt_done);
  job.result.prompt_seconds = job.timings.prompt_seconds;
  job.result.prompt_tokens = job.timings.computed_tokens;
  job.answer->begin(job.ids);
}

// False: the answer has ended.
bool Scheduler::Impl::draw(Job& job, std::span<const float> logits, int32_t* id) {
  Answer& answer = *job.answer;
  const auto end_with = [&](StopReason reason) {
    give(job, answer.finish(reason), {});
    end(job, reason);
    return false;
  };
  if (answer.is_full()) return end_with(StopReason::length);
  auto drawn = answer.next(logits);
  if (!drawn.ok()) {
    finish(job, std::move(drawn).error());
    return false;
  }
  const Answer::Piece& piece = drawn.value();
  *id = piece.id;
  if (job.result.ids.empty()) job.result.first_token_seconds = seconds_between(job.admitted, Clock::now());
  if (piece.drawn) job.result.ids.push_back(piece.id);
  give(job, piece, logits);
  if (piece.end != StopReason::none) {
    end(job, piece.end);
    return false;
  }
  if (answer.is_full()) return end_with(StopReason::length);
  const auto tokens = static_cast<int64_t>(job.timings.prompt_tokens + job.timings.generated_tokens);
  if (!job.request.options.context_shift && tokens > engine.runtime.context_tokens) {
    return end_with(StopReason::context_full);
  }
  return true;
}

// Drops the older half of what follows the tokens that are to be kept; what stays is computed again, exactly, at the
// price of a prompt.
void Scheduler::Impl::shift(Job& job) {
  const auto tokens = static_cast<int64_t>(job.ids.size()) - 1;  // all but the new one
  int64_t keep = job.request.options.keep;
  keep = std::clamp<int64_t>(keep < 0 ? tokens : keep, 0, tokens - 1);
  const int64_t drop = std::max<int64_t>(1, (tokens - keep) / 2);
  job.ids.erase(job.ids.begin() + keep, job.ids.begin() + keep + drop);
  ++job.result.context_shifts;
  if (auto cut = job.state->truncate(keep); !cut.ok()) finish(job, cut.error());
}

void Scheduler::Impl::give(Job& job, const Answer::Piece& piece, std::span<const float> logits) {
  if (piece.drawn) ++job.timings.generated_tokens;
  if (!piece.drawn && piece.text.empty()) return;
  job.result.text += piece.text;
  job.listener->on_token(describe(piece, job.request, logits));
}

void Scheduler::Impl::finish_embedding(Job& job) {
  job.timings.prompt_seconds = seconds_between(job.admitted, Clock::now());
  job.prompt_done = Clock::now();
  const double scale = job.request.pooling == Pooling::mean ? 1 / static_cast<double>(job.ids.size()) : 1;
  std::vector<float> vector(job.pooled.size());
  for (size_t i = 0; i < vector.size(); ++i) vector[i] = static_cast<float>(job.pooled[i] * scale);
  job.listener->on_embedding(vector);
  end(job, StopReason::length);
}

void Scheduler::Impl::end(Job& job, StopReason reason) {
  job.result.reason = reason;
  finish(job, job.result);
}

// The job leaves its slot and is told. What it held is free afterwards.
void Scheduler::Impl::finish(Job& job, const Result<GenerateResult>& result) {
  const auto now = Clock::now();
  RequestTimings& timings = job.timings;
  const bool ran = job.slot >= 0;
  if (!ran) timings.queue_seconds = seconds_between(job.submitted, now);
  if (ran && job.drawing) timings.generate_seconds = seconds_between(job.prompt_done, now);
  Result<GenerateResult> told = result;
  if (told.ok()) told->generate_seconds = timings.generate_seconds;
  JobPtr self;
  if (ran) {
    job.state.reset();
    reserved -= job.reserved_tokens;
    self = std::move(slots[static_cast<size_t>(job.slot)]);
    std::erase(order, self);
  }
  {
    const std::lock_guard lock(seen_mutex);
    const bool cancelled = told.ok() && told->reason == StopReason::cancelled;
    ++(cancelled ? seen.cancelled : told.ok() ? seen.finished : seen.failed);
    seen.prompt_seconds += timings.prompt_seconds;
    seen.generate_seconds += timings.generate_seconds;
    seen.prompt_tokens += static_cast<uint64_t>(timings.computed_tokens);
    seen.cached_tokens += static_cast<uint64_t>(timings.cached_tokens);
    seen.generated_tokens += static_cast<uint64_t>(timings.generated_tokens);
    seen.drafted_tokens += static_cast<uint64_t>(timings.drafted_tokens);
    seen.accepted_tokens += static_cast<uint64_t>(timings.accepted_tokens);
    if (ran && !cancelled) blend(mean_seconds, seconds_between(job.admitted, now));
    if (ran) {
      SlotInfo& slot = seen_slots[static_cast<size_t>(job.slot)];
      slot.busy = false;
      slot.tokens = static_cast<int64_t>(job.ids.size());
    }
  }
  job.listener->on_end(told, timings);
  const std::lock_guard lock(gate->mutex);
  if (self) std::erase(gate->active, self);
  gate->tell_idle();
}

void Scheduler::Impl::publish() {
  const std::lock_guard lock(seen_mutex);
  seen.running = static_cast<int>(order.size());
  seen.kv_bytes = static_cast<uint64_t>(engine.kv_pool->blocks_in_use()) *
                  static_cast<uint64_t>(engine.kv_pool->layout().block_bytes());
  for (const JobPtr& job : order) {
    SlotInfo& slot = seen_slots[static_cast<size_t>(job->slot)];
    slot.tokens = job->state->tokens();
    slot.prompt_tokens = job->timings.prompt_tokens;
    slot.prompt_done = std::min(job->state->tokens(), slot.prompt_tokens);
    slot.cached_tokens = job->timings.cached_tokens;
    slot.generated = job->timings.generated_tokens;
  }
}

}  // namespace moxie

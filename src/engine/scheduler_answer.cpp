// What comes of a step: tokens, their text, and the end of a request.
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.h"
#include "core/fail.h"
#include "engine/scheduler_impl.h"

namespace moxie {
namespace {

using Clock = SchedulerClock;

TokenStep step_of(const Answer::Piece& piece, const GenerateRequest& request, std::span<const float> logits) {
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

// Everything was computed: the states have grown by what their jobs gave.
void Scheduler::Impl::take_states(Round& done) {
  int64_t row = 0;
  for (const Share& share : done.shares) {
    Job& job = *share.job;
    job.state->commit(share.count);
    if (!job.drawing) {
      job.timings.computed_tokens += share.count;
      if (!job.pooled.empty()) {
        pool_rows(job, done.workspace->normed + row * engine.model->hp().hidden, share.outputs);
      }
      keep(job, false);
      job.listener->on_prompt_progress(job.state->tokens(), job.timings.prompt_tokens);
    }
    row += share.outputs;
  }
}

void Scheduler::Impl::pool_rows(Job& job, const float* rows, int64_t count) const {
  if (count == 0) return;
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
void Scheduler::Impl::take_logits(Round& done) {
  struct Row {
    const Share* share;
    int64_t index;  // 0: after the last token that is known; then after each guess
    int64_t row;
  };
  std::vector<Row> rows;
  int64_t begin = 0;
  for (const Share& share : done.shares) {
    const int64_t end = begin + share.outputs;
    if (share.job->pending() == 0 && share.job->request.pooling != Pooling::none) {
      finish_embedding(*share.job);
    } else if (share.job->pending() == 0) {
      for (int64_t i = 0; i <= share.drafts; ++i) rows.push_back({&share, i, end - share.drafts - 1 + i});
    }
    begin = end;
  }
  const int64_t hidden = engine.model->hp().hidden, vocabulary = engine.model->hp().vocabulary;
  const Share* over = nullptr;  // nothing more of it counts
  for (size_t first = 0; first < rows.size(); first += Engine::Impl::kLogitRows) {
    const size_t count = std::min<size_t>(rows.size() - first, Engine::Impl::kLogitRows);
    for (size_t i = 0; i < count; ++i) {
      const float* from = done.workspace->normed + rows[first + i].row * hidden;
      std::copy(from, from + hidden, logit_rows.data() + static_cast<int64_t>(i) * hidden);
    }
    const auto computed = engine.compute_logits(logit_rows.data(), static_cast<int64_t>(count));
    if (!computed.ok()) {
      for (size_t i = first; i < rows.size(); ++i) {
        if (rows[i].share == over) continue;
        over = rows[i].share;
        finish(*over->job, computed.error());
      }
      return;
    }
    for (size_t i = 0; i < count; ++i) {
      const Row& row = rows[first + i];
      if (row.share == over) continue;
      const std::span<const float> logits(engine.logits.data() + static_cast<int64_t>(i) * vocabulary,
                                          static_cast<size_t>(vocabulary));
      if (!take_row(*row.share->job, *row.share, row.index, logits)) over = row.share;
    }
  }
}

// One token from one row. False: later rows of the step, if any, follow a guess that was wrong, or the answer ended.
bool Scheduler::Impl::take_row(Job& job, const Share& share, int64_t index, std::span<const float> logits) {
  if (!job.drawing) begin_answer(job);
  job.guesses = share.drafts - index;
  const size_t known = job.ids.size() - static_cast<size_t>(job.guesses);
  int32_t id = -1;
  if (!draw(job, logits, &id)) return false;
  if (index < share.drafts && job.ids[known] == id) {
    ++job.timings.accepted_tokens;
    if (index + 1 == share.drafts) job.draft.learn(share.drafts, share.drafts);
    return true;
  }
  if (index < share.drafts) job.draft.learn(share.drafts, index);
  drop_guesses(job);
  job.ids.push_back(id);
  if (static_cast<int64_t>(known) >= engine.runtime.context_tokens) shift(job);
  return false;
}

void Scheduler::Impl::drop_guesses(Job& job) {
  job.ids.resize(job.ids.size() - static_cast<size_t>(std::exchange(job.guesses, 0)));
  const auto tokens = static_cast<int64_t>(job.ids.size());
  // Blocks of keys and values can always be cut back.
  if (job.state->tokens() > tokens) MOXIE_CHECK(job.state->truncate(tokens).ok());
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
  MOXIE_CHECK(job.state->truncate(keep).ok());
}

void Scheduler::Impl::give(Job& job, const Answer::Piece& piece, std::span<const float> logits) {
  if (piece.drawn) ++job.timings.generated_tokens;
  if (!piece.drawn && piece.text.empty()) return;
  job.result.text += piece.text;
  job.listener->on_token(step_of(piece, job.request, logits));
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
  const bool ran = job.slot >= 0;
  if (!ran) job.timings.queue_seconds = seconds_between(job.submitted, now);
  if (ran && job.drawing) job.timings.generate_seconds = seconds_between(job.prompt_done, now);
  Result<GenerateResult> told = result;
  if (told.ok()) told->generate_seconds = job.timings.generate_seconds;
  JobPtr self;
  if (ran) {
    if (job.state) {
      drop_guesses(job);
      keep(job, true);
      job.state.reset();
    }
    reserved -= job.reserved_tokens;
    self = std::move(slots[static_cast<size_t>(job.slot)]);
    std::erase(order, self);
    see_experts();  // who is told of the end may ask for them
  }
  count(job, told, ran ? seconds_between(job.admitted, now) : 0);
  job.listener->on_end(told, job.timings);
  const std::lock_guard lock(gate->mutex);
  if (self) std::erase(gate->active, self);
  gate->tell_idle();
}

void Scheduler::Impl::count(const Job& job, const Result<GenerateResult>& result, double slot_seconds) {
  const RequestTimings& timings = job.timings;
  const std::lock_guard lock(seen_mutex);
  const bool cancelled = result.ok() && result->reason == StopReason::cancelled;
  ++(cancelled ? seen.cancelled : result.ok() ? seen.finished : seen.failed);
  seen.prompt_seconds += timings.prompt_seconds;
  seen.generate_seconds += timings.generate_seconds;
  seen.prompt_tokens += static_cast<uint64_t>(timings.computed_tokens);
  seen.cached_tokens += static_cast<uint64_t>(timings.cached_tokens);
  seen.generated_tokens += static_cast<uint64_t>(timings.generated_tokens);
  seen.drafted_tokens += static_cast<uint64_t>(timings.drafted_tokens);
  seen.accepted_tokens += static_cast<uint64_t>(timings.accepted_tokens);
  if (job.slot < 0) return;
  if (!cancelled) mean_seconds = mean_seconds == 0 ? slot_seconds : 0.75 * mean_seconds + 0.25 * slot_seconds;
  SlotInfo& slot = seen_slots[static_cast<size_t>(job.slot)];
  slot.busy = false;
  slot.tokens = static_cast<int64_t>(job.ids.size());
  slot.generated = timings.generated_tokens;
}

}  // namespace moxie

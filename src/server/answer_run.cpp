#include "server/answer_run.h"

#include <chrono>

#include "core/fail.h"
#include "server/json_build.h"
#include "server/sse.h"

namespace moxie::server {

struct AnswerRun::Listener final : RequestListener {
  Listener(std::shared_ptr<AnswerRun> owner, size_t place) : run(std::move(owner)), index(place) {}
  void on_prompt_progress(int64_t done, int64_t total) override { run->on_progress(index, done, total); }
  void on_token(const TokenStep& step) override { run->on_token(index, step); }
  void on_embedding(std::span<const float> vector) override { run->on_embedding(index, vector); }
  void on_end(const Result<GenerateResult>& result, const RequestTimings& timings) override {
    run->on_end(index, result, timings);
  }

  const std::shared_ptr<AnswerRun> run;
  const size_t index;
};

AnswerRun::AnswerRun(ServiceLease service, std::shared_ptr<HttpExchange> exchange, bool streams)
    : service_(std::move(service)), exchange_(std::move(exchange)), streams_(streams) {}

void AnswerRun::start(std::vector<GenerateRequest> requests) {
  generations_.resize(requests.size());
  exchange_->on_gone([self = weak_from_this()] {
    if (const auto run = self.lock()) run->cancel();
  });
  if (streams_) {
    exchange_->on_idle(std::chrono::seconds(service_->options.sse_ping_seconds), [self = weak_from_this()] {
      if (const auto run = self.lock()) run->on_idle();
    });
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    auto handle =
        service_->scheduler->submit(std::move(requests[i]), std::make_shared<Listener>(shared_from_this(), i));
    const std::lock_guard lock(mutex_);
    if (!handle.ok()) {
      // Those before it end by themselves once they are cancelled, and nobody hears of it.
      if (!over_) fail(service_->refused(std::move(handle).error()));
      return;
    }
    // It may have ended already: its handle, which holds this run, would be let go by nobody.
    if (generations_[i].ended) continue;
    generations_[i].handle = *std::move(handle);
    if (cancelled_) generations_[i].handle->cancel();
  }
}

void AnswerRun::send(std::string& out) {
  if (out.empty() && begun_) return;
  if (!streams_) return;
  if (!begun_) {
    begun_ = true;
    exchange_->begin_stream({.status = 200,
                             .content_type = "text/event-stream",
                             .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
    std::string first;
    begin(first);
    out.insert(0, first);
  }
  if (exchange_->write(out)) return;
  note("the client is gone, or reads too slowly");
  stop_all();
}

void AnswerRun::stop_all() {
  over_ = cancelled_ = true;  // also for handles that are still to come
  for (const Generation& generation : generations_) {
    if (generation.handle) generation.handle->cancel();
  }
}

void AnswerRun::on_token(size_t index, const TokenStep& step) {
  const std::lock_guard lock(mutex_);
  if (over_ || cancelled_) return;
  std::string out;
  token(index, step, out);
  if (!out.empty()) send(out);
}

void AnswerRun::on_progress(size_t index, int64_t done, int64_t total) {
  const std::lock_guard lock(mutex_);
  if (over_ || cancelled_) return;
  Generation& generation = generations_[index];
  if (generation.cached_tokens == 0) generation.cached_tokens = done < total ? done : 0;
  std::string out;
  progress(index, done, total, out);
  if (!out.empty()) send(out);
}

void AnswerRun::on_embedding(size_t index, std::span<const float> vector) {
  const std::lock_guard lock(mutex_);
  if (!over_) embedding(index, vector);
}

void AnswerRun::on_end(size_t index, const Result<GenerateResult>& result, const RequestTimings& timings) {
  const std::lock_guard lock(mutex_);
  Generation& generation = generations_[index];
  generation.ended = true;
  generation.timings = timings;
  generation.cached_tokens = timings.cached_tokens;
  generation.handle.reset();
  ++ended_count_;
  if (over_) return;
  if (!result.ok()) return fail({.error = result.error()});
  generation.result = *result;
  if (result->reason == StopReason::cancelled) {
    return fail({.error = moxie::fail(ErrorCode::cancelled, "the answer was cancelled; the server is shutting down"),
                 .status = 503});
  }
  std::string out;
  ended(index, out);
  const bool last = ended_count_ == generations_.size();
  if (last) {
    over_ = true;
    std::string reason = generations_.front().result.reason == StopReason::length ? "length" : "stop";
    note(std::move(reason));
    finish(out);
  }
  if (!streams_) {
    if (last) exchange_->respond({.body = std::move(out)});
    return;
  }
  send(out);
  if (over_) exchange_->end_stream();
}

void AnswerRun::on_idle() {
  const std::lock_guard lock(mutex_);
  if (over_ || cancelled_) return;
  std::string out;
  append_comment(out);
  send(out);
}

void AnswerRun::cancel() {
  const std::lock_guard lock(mutex_);
  if (!over_) note("cancelled");
  stop_all();
}

void AnswerRun::fail(const RequestError& error) {
  note(error.error.message);
  stop_all();
  if (!begun_) return exchange_->respond(fail_response(error));
  std::string out;
  fail_stream(error.error, out);
  exchange_->write(out);
  exchange_->end_stream();
}

RequestTimings AnswerRun::timings() const {
  RequestTimings sum;
  for (const Generation& generation : generations_) {
    const RequestTimings& one = generation.timings;
    sum.queue_seconds = std::max(sum.queue_seconds, one.queue_seconds);
    sum.prompt_seconds += one.prompt_seconds;
    sum.generate_seconds += one.generate_seconds;
    sum.prompt_tokens += one.prompt_tokens;
    sum.cached_tokens += one.cached_tokens;
    sum.computed_tokens += one.computed_tokens;
    sum.generated_tokens += one.generated_tokens;
    sum.drafted_tokens += one.drafted_tokens;
    sum.accepted_tokens += one.accepted_tokens;
  }
  return sum;
}

void AnswerRun::note(std::string outcome) {
  const RequestTimings sum = timings();
  exchange_->set_notes({.prompt_tokens = sum.prompt_tokens,
                        .cached_tokens = sum.cached_tokens,
                        .generated_tokens = sum.generated_tokens,
                        .prompt_ms = sum.prompt_seconds * 1000,
                        .generated_ms = sum.generate_seconds * 1000,
                        .outcome = std::move(outcome)});
}

Json AnswerRun::timings_json(size_t index) const {
  return server::timings_json(generations_[index].timings, service_->scheduler->stats().experts);
}

Json AnswerRun::timings_json() const {
  return server::timings_json(timings(), service_->scheduler->stats().experts);
}

Json timings_json(const RequestTimings& timings, const ExpertStats& experts) {
  const auto per = [](double seconds, int64_t count) {
    return count > 0 ? seconds * 1000 / static_cast<double>(count) : 0.0;
  };
  const auto rate = [](int64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
  };
  Json made = object({{"cache_n", timings.cached_tokens},
                      {"prompt_n", timings.computed_tokens},
                      {"prompt_ms", timings.prompt_seconds * 1000},
                      {"prompt_per_token_ms", per(timings.prompt_seconds, timings.computed_tokens)},
                      {"prompt_per_second", rate(timings.computed_tokens, timings.prompt_seconds)},
                      {"predicted_n", timings.generated_tokens},
                      {"predicted_ms", timings.generate_seconds * 1000},
                      {"predicted_per_token_ms", per(timings.generate_seconds, timings.generated_tokens)},
                      {"predicted_per_second", rate(timings.generated_tokens, timings.generate_seconds)},
                      {"queue_ms", timings.queue_seconds * 1000}});
  if (timings.drafted_tokens > 0) {
    put(made, "draft_n", timings.drafted_tokens);
    put(made, "draft_n_accepted", timings.accepted_tokens);
  }
  // Of the server since it began, not of this request: experts are shared by all that run.
  const uint64_t accesses = experts.hits + experts.misses;
  Json of_experts =
      object({{"mode", experts.mode},
              {"streaming", experts.streaming},
              {"hit_rate", accesses > 0 ? static_cast<double>(experts.hits) / static_cast<double>(accesses) : 1.0},
              {"bytes_read", experts.bytes_read},
              {"stall_ms", experts.stall_seconds * 1000}});
  if (experts.mode != "exact") {
    put(of_experts, "lossy_accesses", experts.lossy_accesses);
    put(of_experts, "lossy_changed", experts.lossy_changed);
    put(of_experts, "lossy_weight_share", experts.lossy_weight_share);
  }
  put(made, "experts", std::move(of_experts));
  return made;
}

}  // namespace moxie::server

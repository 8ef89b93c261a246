#include <algorithm>
#include <chrono>

#include "core/fail.h"
#include "engine/answer.h"
#include "engine/engine_impl.h"
#include "engine/model_identity.h"
#include "engine/saved_sequence.h"

namespace moxie {

struct Sequence::Impl {
  Engine::Impl& engine;
  std::unique_ptr<SequenceState> state;
  std::vector<int32_t> ids;
  std::vector<float> logits;
  std::vector<int32_t> experts;
  std::atomic<bool> stop{false};
  LayerObserver* observer = nullptr;

  explicit Impl(Engine::Impl& e) : engine(e), state(std::make_unique<KvCache>(*e.kv_pool, e.runtime.context_tokens)) {
    ids.reserve(static_cast<size_t>(e.runtime.context_tokens));
    logits.reserve(static_cast<size_t>(e.model->hp().vocabulary));
    experts.reserve(static_cast<size_t>(e.model->hp().layers * e.model->hp().router.used));
  }
  ~Impl() {
    const std::lock_guard lock(engine.step);  // the pool of blocks is shared
    state.reset();
  }

  int64_t room() const { return engine.runtime.context_tokens - state->tokens(); }
  Result<void> check(std::span<const int32_t> more) const;
  Result<void> append(std::span<const int32_t> more, const std::function<void(int64_t, std::span<const float>)>* each);
  Result<void> shift(int64_t keep);
};

Result<void> Sequence::Impl::check(std::span<const int32_t> more) const {
  if (static_cast<int64_t>(more.size()) > room()) {
    return fail(ErrorCode::invalid_argument,
                "{} tokens do not fit: the context holds {} and {} are in it; give a larger -c", more.size(),
                engine.runtime.context_tokens, state->tokens());
  }
  for (const int32_t id : more) {
    if (id < 0 || id >= engine.model->hp().vocabulary) {
      return fail(ErrorCode::invalid_argument, "token id {} is outside the vocabulary of {}", id,
                  engine.model->hp().vocabulary);
    }
  }
  return {};
}

Result<void> Sequence::Impl::append(std::span<const int32_t> more,
                                    const std::function<void(int64_t, std::span<const float>)>* each) {
  MOXIE_TRY_VOID(check(more));
  const std::lock_guard lock(engine.step);
  while (!more.empty()) {
    const size_t count = std::min<size_t>(more.size(), static_cast<size_t>(engine.workspace.max_tokens));
    const bool last = count == more.size();
    auto computed = engine.compute({.state = *state,
                                    .ids = more.first(count),
                                    .last = last ? &logits : nullptr,
                                    .each = each,
                                    .observer = observer,
                                    .stop = &stop,
                                    .last_choice = last ? &experts : nullptr});
    // A cancel() ends one call, not those after it.
    if (!computed.ok() && computed.error().code == ErrorCode::cancelled) stop.store(false, std::memory_order_relaxed);
    MOXIE_TRY_VOID(std::move(computed));
    if (!last) {  // not those of the tokens before any more
      logits.clear();
      experts.clear();
    }
    ids.insert(ids.end(), more.begin(), more.begin() + static_cast<ptrdiff_t>(count));
    more = more.subspan(count);
  }
  return {};
}

// Drops the older half of what follows the first `keep` tokens. What stays moves to earlier positions, so it is
// computed again: exact, at the price of a prompt.
Result<void> Sequence::Impl::shift(int64_t keep) {
  const int64_t tokens = state->tokens();
  keep = std::clamp<int64_t>(keep < 0 ? tokens : keep, 0, tokens - 1);
  const int64_t drop = std::max<int64_t>(1, (tokens - keep) / 2);
  const std::vector<int32_t> rest(ids.begin() + keep + drop, ids.end());
  {
    const std::lock_guard lock(engine.step);
    MOXIE_TRY_VOID(state->truncate(keep));
  }
  ids.resize(static_cast<size_t>(keep));
  return append(rest, nullptr);
}

Sequence::Sequence(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sequence::~Sequence() = default;

Result<std::unique_ptr<Sequence>> Engine::new_sequence() {
  if (!impl_->model) return fail(ErrorCode::invalid_argument, "the engine was opened for its vocabulary only");
  return std::make_unique<Sequence>(std::make_unique<Sequence::Impl>(*impl_));
}

Result<void> Sequence::append(std::span<const int32_t> ids) {
  return impl_->append(ids, nullptr);
}

Result<void> Sequence::append(std::span<const int32_t> ids,
                              const std::function<void(int64_t, std::span<const float>)>& each) {
  return impl_->append(ids, &each);
}

std::span<const float> Sequence::logits() const {
  return impl_->logits;
}
std::span<const int32_t> Sequence::ids() const {
  return impl_->ids;
}
std::span<const int32_t> Sequence::last_experts() const {
  return impl_->experts;
}
void Sequence::observe(LayerObserver* observer) {
  impl_->observer = observer;
}
void Sequence::cancel() {
  impl_->stop.store(true, std::memory_order_relaxed);
}

Result<void> Sequence::truncate(int64_t tokens) {
  const std::lock_guard lock(impl_->engine.step);
  MOXIE_TRY_VOID(impl_->state->truncate(tokens));
  impl_->ids.resize(static_cast<size_t>(tokens));
  impl_->logits.clear();
  return {};
}

Result<std::vector<std::byte>> Sequence::save() const {
  const std::lock_guard lock(impl_->engine.step);
  return write_saved_sequence({.fingerprint = identify(*impl_->engine.model, impl_->engine.model_info.path).fingerprint,
                               .ids = impl_->ids,
                               .logits = impl_->logits,
                               .state = impl_->state->save()});
}

Result<void> Sequence::restore(std::span<const std::byte> saved) {
  Engine::Impl& engine = impl_->engine;
  MOXIE_TRY_VOID(truncate(0));
  MOXIE_TRY(SavedSequence read, read_saved_sequence(saved, identify(*engine.model, engine.model_info.path)));
  const size_t vocabulary = static_cast<size_t>(engine.model->hp().vocabulary);
  if (!read.logits.empty() && read.logits.size() != vocabulary) {
    return fail(ErrorCode::corrupt, "the saved context has {} logits, the model {}", read.logits.size(), vocabulary);
  }
  MOXIE_TRY_VOID(impl_->check(read.ids));
  {
    const std::lock_guard lock(engine.step);
    MOXIE_TRY_VOID(impl_->state->restore(read.state));
    if (impl_->state->tokens() != static_cast<int64_t>(read.ids.size())) {
      const int64_t tokens = impl_->state->tokens();
      MOXIE_TRY_VOID(impl_->state->truncate(0));
      return fail(ErrorCode::corrupt, "the saved context holds {} tokens, but remembers {}", read.ids.size(), tokens);
    }
  }
  impl_->ids.assign(read.ids.begin(), read.ids.end());
  impl_->logits.assign(read.logits.begin(), read.logits.end());
  return {};
}

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Result<GenerateResult> Sequence::generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                                          const std::function<bool(const TokenEvent&)>& on_token) {
  Engine::Impl& engine = impl_->engine;
  impl_->stop.store(false, std::memory_order_relaxed);
  MOXIE_TRY(Answer answer, Answer::create(engine, options));
  answer.remember(impl_->ids);

  GenerateResult result;
  result.seed = answer.seed();
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  const auto start = std::chrono::steady_clock::now();
  const auto end_with = [&](StopReason reason) {
    result.reason = reason;
    result.generate_seconds = seconds_since(start) - result.prompt_seconds;
    return result;
  };

  if (auto appended = impl_->append(prompt, nullptr); !appended.ok()) {
    if (appended.error().code == ErrorCode::cancelled) return end_with(StopReason::cancelled);
    return std::move(appended).error();
  }
  if (impl_->logits.empty())
    return fail(ErrorCode::invalid_argument, "there is nothing to continue: the prompt is empty");
  result.prompt_seconds = seconds_since(start);
  answer.remember(prompt);
  answer.begin(impl_->ids);

  const auto give = [&](const Answer::Piece& piece) {
    if (!piece.drawn && piece.text.empty()) return true;
    result.text += piece.text;
    return !on_token || on_token({piece.id, piece.text});
  };
  for (;;) {
    if (answer.is_full()) {
      give(answer.finish(StopReason::length));
      return end_with(StopReason::length);
    }
    MOXIE_TRY(const Answer::Piece piece, answer.next(impl_->logits));
    if (result.ids.empty()) result.first_token_seconds = seconds_since(start);
    if (piece.drawn) result.ids.push_back(piece.id);
    const bool wanted = give(piece);
    if (piece.drawn && !wanted) return end_with(StopReason::caller);
    if (piece.end != StopReason::none) return end_with(piece.end);

    if (impl_->room() < 1) {
      if (!options.context_shift) {
        give(answer.finish(StopReason::context_full));
        return end_with(StopReason::context_full);
      }
      if (auto shifted = impl_->shift(options.keep); !shifted.ok()) {
        if (shifted.error().code == ErrorCode::cancelled) return end_with(StopReason::cancelled);
        return std::move(shifted).error();
      }
      ++result.context_shifts;
    }
    if (auto appended = impl_->append({&piece.id, 1}, nullptr); !appended.ok()) {
      if (appended.error().code == ErrorCode::cancelled) return end_with(StopReason::cancelled);
      return std::move(appended).error();
    }
  }
}

}  // namespace moxie

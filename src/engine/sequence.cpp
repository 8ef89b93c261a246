#include <algorithm>
#include <chrono>
#include <optional>

#include "core/fail.h"
#include "engine/engine_impl.h"
#include "engine/stop_texts.h"
#include "sample/chain.h"
#include "text/detokenizer.h"

namespace moxie {

struct Sequence::Impl {
  Engine::Impl& engine;
  std::unique_ptr<SequenceState> state;
  std::vector<int32_t> ids;
  std::vector<float> logits;
  std::vector<int32_t> experts;
  std::atomic<bool> stop{false};

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
    auto computed = engine.compute(*state, more.first(count), last ? &logits : nullptr, each, &stop, &experts);
    // A cancel() ends one call, not those after it.
    if (!computed.ok() && computed.error().code == ErrorCode::cancelled) stop.store(false, std::memory_order_relaxed);
    MOXIE_TRY_VOID(std::move(computed));
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

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Result<SamplerChain> make_chain(Engine::Impl& engine, const SamplingOptions& options) {
  const Tokenizer* tokenizer = engine.tokenizer.get();
  SamplerVocabulary vocabulary{.size = static_cast<int32_t>(engine.model->hp().vocabulary)};
  if (tokenizer != nullptr) {
    vocabulary.bytes = [tokenizer](int32_t id) {
      return id < tokenizer->vocabulary_size() ? tokenizer->bytes(id) : std::string();
    };
    vocabulary.grammars = &engine.grammars;
    vocabulary.encode = [tokenizer](std::string_view text) { return tokenizer->encode(text, {}); };
  }
  return SamplerChain::create(options, vocabulary, engine.runtime.context_tokens, engine.end_ids);
}

}  // namespace

Result<GenerateResult> Sequence::generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                                          const std::function<bool(const TokenEvent&)>& on_token) {
  Engine::Impl& engine = impl_->engine;
  impl_->stop.store(false, std::memory_order_relaxed);
  MOXIE_TRY(SamplerChain chain, make_chain(engine, options.sampling));
  for (const int32_t id : impl_->ids) chain.remember(id);

  GenerateResult result;
  result.seed = chain.seed();
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
  for (const int32_t id : prompt) chain.remember(id);

  const Tokenizer* tokenizer = engine.tokenizer.get();
  std::optional<Detokenizer> detokenizer;
  // A prompt that ends in running text continues it; after BOS alone the text begins here.
  const bool at_start = impl_->ids.size() == 1 && impl_->ids[0] == (tokenizer ? tokenizer->bos() : -1);
  if (tokenizer)
    detokenizer.emplace(*tokenizer,
                        Detokenizer::Options{.with_special = options.special, .at_start_of_text = at_start});
  StopTexts stops(options.stop);

  const auto give = [&](int32_t id, const std::string& text) {
    result.text += text;
    return !on_token || on_token({id, text});
  };
  for (;;) {
    if (options.max_tokens >= 0 && static_cast<int64_t>(result.ids.size()) >= options.max_tokens) {
      const std::string rest = stops.finish((detokenizer ? detokenizer->finish() : std::string()));
      if (!rest.empty()) give(-1, rest);
      return end_with(StopReason::length);
    }
    const int32_t id = chain.sample(impl_->logits);
    if (id == SamplerChain::kNoToken) {
      MOXIE_TRY_VOID(chain.why_none());
      const std::string rest = stops.finish(detokenizer ? detokenizer->finish() : std::string());
      if (!rest.empty()) give(-1, rest);
      return end_with(StopReason::end_token);
    }
    if (result.ids.empty()) result.first_token_seconds = seconds_since(start);
    const bool ends =
        !options.sampling.ignore_eos && std::binary_search(engine.end_ids.begin(), engine.end_ids.end(), id);
    if (ends) {
      std::string rest = stops.finish(detokenizer ? detokenizer->finish() : std::string());
      if (options.special && tokenizer) rest += tokenizer->bytes(id, true);
      if (!rest.empty()) give(id, rest);
      return end_with(StopReason::end_token);
    }
    chain.accept(id);
    result.ids.push_back(id);
    const std::string text =
        stops.push(detokenizer && id < tokenizer->vocabulary_size() ? detokenizer->push(id) : std::string());
    if (!give(id, text)) return end_with(StopReason::caller);
    if (stops.stopped()) return end_with(StopReason::stop_text);

    if (impl_->room() < 1) {
      if (!options.context_shift) {
        const std::string rest = stops.finish(detokenizer ? detokenizer->finish() : std::string());
        if (!rest.empty()) give(-1, rest);
        return end_with(StopReason::context_full);
      }
      if (auto shifted = impl_->shift(options.keep); !shifted.ok()) {
        if (shifted.error().code == ErrorCode::cancelled) return end_with(StopReason::cancelled);
        return std::move(shifted).error();
      }
      ++result.context_shifts;
    }
    if (auto appended = impl_->append({&id, 1}, nullptr); !appended.ok()) {
      if (appended.error().code == ErrorCode::cancelled) return end_with(StopReason::cancelled);
      return std::move(appended).error();
    }
  }
}

}  // namespace moxie

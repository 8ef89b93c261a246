#include "engine/answer.h"

#include <algorithm>

#include "engine/engine_impl.h"

namespace moxie {

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

Answer::Answer(Engine::Impl& engine, const GenerateOptions& options, SamplerChain chain)
    : engine_(&engine),
      chain_(std::move(chain)),
      stops_(options.stop),
      max_tokens_(options.max_tokens),
      special_(options.special),
      ignore_eos_(options.sampling.ignore_eos) {}

Result<Answer> Answer::create(Engine::Impl& engine, const GenerateOptions& options) {
  MOXIE_TRY(SamplerChain chain, make_chain(engine, options.sampling));
  return Answer(engine, options, std::move(chain));
}

void Answer::remember(std::span<const int32_t> ids) {
  for (const int32_t id : ids) chain_.remember(id);
}

void Answer::begin(std::span<const int32_t> context) {
  const Tokenizer* tokenizer = engine_->tokenizer.get();
  if (tokenizer == nullptr) return;
  const bool at_start = context.size() == 1 && context[0] == tokenizer->bos();
  detokenizer_.emplace(*tokenizer, Detokenizer::Options{.with_special = special_, .at_start_of_text = at_start});
}

Answer::Piece Answer::finish(StopReason reason) {
  return {.text = stops_.finish(detokenizer_ ? detokenizer_->finish() : std::string()), .end = reason};
}

Result<Answer::Piece> Answer::next(std::span<const float> logits) {
  const Tokenizer* tokenizer = engine_->tokenizer.get();
  const int32_t id = chain_.sample(logits);
  if (id == SamplerChain::kNoToken) {
    MOXIE_TRY_VOID(chain_.why_none());
    return finish(StopReason::end_token);
  }
  if (!ignore_eos_ && std::binary_search(engine_->end_ids.begin(), engine_->end_ids.end(), id)) {
    Piece piece = finish(StopReason::end_token);
    piece.id = id;
    if (special_ && tokenizer != nullptr) piece.text += tokenizer->bytes(id, true);
    return piece;
  }
  chain_.accept(id);
  ++tokens_;
  Piece piece = {.id = id, .drawn = true};
  piece.text = stops_.push(detokenizer_ && id < tokenizer->vocabulary_size() ? detokenizer_->push(id) : std::string());
  if (stops_.stopped()) piece.end = StopReason::stop_text;
  return piece;
}

}  // namespace moxie

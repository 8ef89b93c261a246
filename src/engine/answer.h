// From logits to an answer: draws tokens, turns them into whole characters, holds back what may be a stop text, and
// says when the answer ends. One per answer; not thread-safe. Sequence and Scheduler share it, so that both give the
// same text for the same request.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "engine/stop_texts.h"
#include "moxie/engine.h"
#include "sample/chain.h"
#include "text/detokenizer.h"

namespace moxie {

// The samplers of the options over the engine's vocabulary. Errors: those of SamplerChain::create.
Result<SamplerChain> make_chain(Engine::Impl& engine, const SamplingOptions& options);

class Answer {
 public:
  struct Piece {
    int32_t id = -1;   // -1: no token, only text that was held back
    std::string text;  // whole characters; may be empty
    StopReason end = StopReason::none;
    bool drawn = false;  // the token belongs to the answer and to the context
  };

  // The engine must outlive the answer. Errors: those of SamplerChain::create.
  static Result<Answer> create(Engine::Impl& engine, const GenerateOptions& options);

  // Ids that stand before the answer, oldest first, before the first draw.
  void remember(std::span<const int32_t> ids);
  // context: everything before the answer. A text that ends in running text goes on; after BOS alone it begins here.
  void begin(std::span<const int32_t> context);
  // As many tokens as were asked for.
  bool is_full() const { return max_tokens_ >= 0 && tokens_ >= max_tokens_; }
  // Draws from the logits of the last token. Errors: no token goes on under the grammar.
  Result<Piece> next(std::span<const float> logits);
  // What is held back, at an end that next() did not give.
  Piece finish(StopReason reason);

  uint64_t seed() const { return chain_.seed(); }
  int64_t tokens() const { return tokens_; }

 private:
  Answer(Engine::Impl& engine, const GenerateOptions& options, SamplerChain chain);

  Engine::Impl* engine_;
  SamplerChain chain_;
  std::optional<Detokenizer> detokenizer_;
  StopTexts stops_;
  int64_t max_tokens_ = -1, tokens_ = 0;
  bool special_ = false, ignore_eos_ = false;
};

}  // namespace moxie

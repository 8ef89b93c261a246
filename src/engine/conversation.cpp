#include "engine/conversation.h"

#include "engine/engine_impl.h"

namespace moxie {

Result<Conversation> Conversation::create(const Engine& engine, std::string system) {
  const Tokenizer* tokenizer = engine.impl_->tokenizer.get();
  if (!tokenizer) return engine.impl_->tokenizer_error;
  const ModelInfo& model = engine.model();
  return Conversation(*tokenizer, choose_wrapping(*tokenizer, model.chat_template, model.name), std::move(system));
}

std::vector<int32_t> Conversation::next_turn(std::string_view user) {
  std::vector<int32_t> ids;
  if (!first_) ids = answer_end_ids(*tokenizer_, choice_.wrapping);
  const std::vector<int32_t> turn =
      turn_ids(*tokenizer_, choice_.wrapping,
               {.user = user, .system = first_ ? std::string_view(system_) : "", .first = first_});
  ids.insert(ids.end(), turn.begin(), turn.end());
  first_ = false;
  return ids;
}

}  // namespace moxie

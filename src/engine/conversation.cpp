#include "engine/conversation.h"

#include <algorithm>
#include <ctime>

#include "core/fail.h"
#include "engine/engine_impl.h"

namespace moxie {
namespace {

Json message_json(std::string_view role, std::string text) {
  return Json{Json::Object{{"role", Json{std::string(role)}}, {"content", Json{std::move(text)}}}};
}

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  return id >= 0 ? tokenizer.text(id) : std::string();
}

}  // namespace

Result<Conversation> Conversation::create(const Engine& engine, ConversationOptions options) {
  const Tokenizer* tokenizer = engine.impl_->tokenizer.get();
  if (!tokenizer) return engine.impl_->tokenizer_error;
  TemplateChoice choice = std::move(options.choice);
  choice.bos = token_text(*tokenizer, tokenizer->bos());
  choice.eos = token_text(*tokenizer, tokenizer->eos());
  Conversation made(*tokenizer, std::move(options));
  if (choice.given == "none") {
    made.form_ = "no";
    made.why_ = "the model goes on with your text";
    return made;
  }
  const auto& templates = engine.impl_->chat_templates;
  if (templates.empty() && choice.given.empty() && choice.file.empty()) {
    made.wrapping_ = choose_wrapping(*tokenizer, "", engine.model().name);
    made.form_ = name(made.wrapping_->wrapping);
    made.why_ = made.wrapping_->why;
    return made;
  }
  MOXIE_TRY(made.template_, ChatTemplate::choose(templates, choice));
  made.form_ = "template";
  made.why_ = made.template_->origin();
  return made;
}

Result<Conversation::Turn> Conversation::say(std::string_view user, std::span<const int32_t> context) {
  pending_ = user;
  if (template_) return templated_turn(context);
  if (wrapping_) return wrapped_turn(context);
  const bool begins = stale_ || context.empty();
  return Turn{begins ? 0 : static_cast<int64_t>(context.size()), encoder_.encode(encoder_.protect(user), begins)};
}

Result<std::string> Conversation::rendered() const {
  Json::Array messages;
  if (!system_.empty()) messages.push_back(message_json("system", encoder_.protect(system_)));
  for (const auto& [role, content] : messages_) messages.push_back(message_json(role, encoder_.protect(content)));
  messages.push_back(message_json("user", encoder_.protect(pending_)));
  std::tm now{};
  const std::time_t seconds = std::time(nullptr);
  localtime_r(&seconds, &now);
  return template_->render({.messages = Json{std::move(messages)}, .extra = extra_}, now);
}

std::optional<std::string_view> Conversation::after_answer(std::string_view text) const {
  if (answered_to_.empty() || !text.starts_with(answered_to_)) return std::nullopt;
  text.remove_prefix(answered_to_.size());
  constexpr std::string_view kBlanks = " \n\t";
  std::string_view answer = answer_;
  answer.remove_prefix(std::min(answer.find_first_not_of(kBlanks), answer.size()));
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const std::string_view words = answer.substr(0, answer.find_last_not_of(kBlanks) + 1);
  if (!text.starts_with(words)) return std::nullopt;
  text.remove_prefix(text.starts_with(answer) ? answer.size() : words.size());
  return text;
}

Result<Conversation::Turn> Conversation::templated_turn(std::span<const int32_t> context) {
  MOXIE_TRY(std::string text, rendered());
  Turn turn;
  if (const auto rest = after_answer(text); rest && !stale_) {
    // The sequence stands for the beginning of the text, with the model's own tokens for its answers.
    turn.keep = static_cast<int64_t>(context.size());
    turn.ids = encoder_.encode(*rest, false);
  } else {
    turn = reusing(context, encoder_.encode(text, true));
  }
  asked_ = std::move(text);
  return turn;
}

Conversation::Turn Conversation::reusing(std::span<const int32_t> context, std::vector<int32_t> ids) {
  // At least one token is computed, for the logits after it.
  const size_t most = std::min(context.size(), ids.empty() ? 0 : ids.size() - 1);
  const auto same = std::mismatch(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(most), context.begin()).first;
  const auto keep = static_cast<int64_t>(same - ids.begin());
  ids.erase(ids.begin(), same);
  return {keep, std::move(ids)};
}

Result<Conversation::Turn> Conversation::wrapped_turn(std::span<const int32_t> context) {
  const Wrapping wrapping = wrapping_->wrapping;
  const auto append_turn = [&](std::vector<int32_t>& to, std::string_view user, bool first) {
    const auto ids = turn_ids(*tokenizer_, wrapping,
                              {.user = user, .system = first ? std::string_view(system_) : "", .first = first});
    to.insert(to.end(), ids.begin(), ids.end());
  };
  Turn turn;
  if (!stale_ && !messages_.empty()) {
    turn.keep = static_cast<int64_t>(context.size());
    turn.ids = answer_end_ids(*tokenizer_, wrapping);
    append_turn(turn.ids, pending_, false);
    return turn;
  }
  bool first = true;
  for (const auto& [role, content] : messages_) {
    if (role == "assistant") {
      const auto answer = tokenizer_->encode(content, {.continues = true});
      turn.ids.insert(turn.ids.end(), answer.begin(), answer.end());
      const auto end = answer_end_ids(*tokenizer_, wrapping);
      turn.ids.insert(turn.ids.end(), end.begin(), end.end());
    } else {
      append_turn(turn.ids, content, first);
      first = false;
    }
  }
  append_turn(turn.ids, pending_, first);
  return reusing(context, std::move(turn.ids));
}

void Conversation::answered(std::string_view text, bool whole) {
  messages_.push_back({"user", std::exchange(pending_, {})});
  // The blank that begins an answer of some vocabularies belongs to the form, not to the message.
  const size_t begin = std::min(text.find_first_not_of(' '), text.size());
  messages_.push_back({"assistant", std::string(text.substr(begin))});
  answered_to_ = std::exchange(asked_, {});
  answer_ = encoder_.protect(text);
  stale_ = !whole && (template_ || wrapping_);
}

void Conversation::set_system(std::string system) {
  system_ = std::move(system);
  stale_ = true;
}

void Conversation::set_messages(std::vector<SaidMessage> messages) {
  messages_ = std::move(messages);
  stale_ = true;
}

std::vector<std::string> Conversation::stops() const {
  if (wrapping_) return stop_texts(wrapping_->wrapping);
  // Fine-tunes whose vocabulary lacks ChatML's tokens write them out.
  if (template_ && tokenizer_->find("<|im_end|>") < 0 &&
      (asked_ + answered_to_).find("<|im_end|>") != std::string::npos) {
    return {"<|im_end|>", "<|im_start|>"};
  }
  return {};
}

}  // namespace moxie

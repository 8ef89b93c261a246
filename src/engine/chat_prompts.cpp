#include "engine/chat_prompts.h"

#include <ctime>

#include "core/fail.h"
#include "engine/engine_impl.h"

namespace moxie {
namespace {

std::string text_or_empty(const Tokenizer& tokenizer, int32_t id) {
  return id >= 0 ? tokenizer.text(id) : std::string();
}

std::string_view text_of(const Json& message, std::string_view key) {
  const Json* value = message.find(key);
  return value != nullptr && value->text() != nullptr ? std::string_view(*value->text()) : std::string_view();
}

std::tm local_time() {
  std::tm now{};
  const std::time_t seconds = std::time(nullptr);
  localtime_r(&seconds, &now);
  return now;
}

void append(std::vector<int32_t>& to, const std::vector<int32_t>& ids) {
  to.insert(to.end(), ids.begin(), ids.end());
}

// An answer that the model shall go on with: the last message, if it is the assistant's and nothing but text.
std::optional<std::string> begun_answer(const Json& messages) {
  if (messages.array() == nullptr || messages.array()->size() < 2) return std::nullopt;
  const Json& last = messages.array()->back();
  const Json* content = last.find("content");
  const Json* calls = last.find("tool_calls");
  if (text_of(last, "role") != "assistant" || content == nullptr || content->text() == nullptr) return std::nullopt;
  if (calls != nullptr && !calls->is_null()) return std::nullopt;
  return *content->text();
}

}  // namespace

Result<ChatPrompts> ChatPrompts::create(const Engine& engine, const TemplateChoice& choice) {
  const Tokenizer* tokenizer = engine.impl_->tokenizer.get();
  if (tokenizer == nullptr) return engine.impl_->tokenizer_error;
  ChatPrompts made(*tokenizer);
  const auto& templates = engine.impl_->chat_templates;
  if (templates.empty() && choice.given.empty() && choice.file.empty()) {
    made.wrapping_ = choose_wrapping(*tokenizer, "", engine.model().name);
    made.form_ = name(made.wrapping_->wrapping);
    made.why_ = made.wrapping_->why;
    return made;
  }
  TemplateChoice wanted = choice;
  wanted.bos = text_or_empty(*tokenizer, tokenizer->bos());
  wanted.eos = text_or_empty(*tokenizer, tokenizer->eos());
  wanted.tools = false;
  MOXIE_TRY(made.plain_, ChatTemplate::choose(templates, wanted));
  wanted.tools = true;
  MOXIE_TRY(auto with_tools, ChatTemplate::choose(templates, wanted));
  if (with_tools.origin() != made.plain_->origin()) made.with_tools_ = std::move(with_tools);
  made.form_ = made.plain_->origin();
  made.why_ = "a template";
  return made;
}

const std::string& ChatPrompts::source(bool with_tools) const {
  static const std::string kNone;
  if (with_tools && with_tools_) return with_tools_->text();
  return plain_ ? plain_->text() : kNone;
}

Result<ChatPrompts::Prompt> ChatPrompts::write(const ChatInput& input) const {
  ChatInput safe = input;
  safe.messages = encoder_.protect(input.messages);
  safe.tools = encoder_.protect(input.tools);
  if (wrapping_) return wrapped(input.messages);
  const std::optional<std::string> begun =
      input.add_generation_prompt ? begun_answer(safe.messages) : std::optional<std::string>();
  if (begun) std::get<Json::Array>(safe.messages.value).pop_back();
  const ChatTemplate& form = with_tools_ && !input.tools.is_null() ? *with_tools_ : *plain_;
  MOXIE_TRY(std::string text, form.render(safe, local_time()));
  if (begun) text += *begun;
  Prompt prompt;
  prompt.ids = encoder_.encode(text, true);
  // Fine-tunes whose vocabulary lacks ChatML's tokens write them out.
  if (tokenizer_->find("<|im_end|>") < 0 && text.find("<|im_end|>") != std::string::npos) {
    prompt.stops = {"<|im_end|>", "<|im_start|>"};
  }
  prompt.text = unprotected(text);
  return prompt;
}

Result<ChatPrompts::Prompt> ChatPrompts::wrapped(const Json& messages) const {
  if (messages.array() == nullptr || messages.array()->empty()) {
    return fail(ErrorCode::invalid_argument, "'messages' is empty; give at least one");
  }
  const Wrapping wrapping = wrapping_->wrapping;
  Prompt prompt;
  std::string system;
  bool first = true, answered = false;
  for (const Json& message : *messages.array()) {
    const std::string_view role = text_of(message, "role"), content = text_of(message, "content");
    if (role == "system" || role == "developer") {
      system.append(system.empty() ? "" : "\n\n").append(content);
    } else if (role == "assistant") {
      append(prompt.ids, tokenizer_->encode(content, {.continues = !first}));
      first = false;
      answered = true;
    } else {
      if (answered) append(prompt.ids, answer_end_ids(*tokenizer_, wrapping));
      append(prompt.ids, turn_ids(*tokenizer_, wrapping, {.user = content, .system = system, .first = first}));
      system.clear();
      first = answered = false;
    }
  }
  if (first) append(prompt.ids, turn_ids(*tokenizer_, wrapping, {.user = "", .system = system, .first = true}));
  for (const int32_t id : prompt.ids) {
    prompt.text += id < tokenizer_->vocabulary_size() ? tokenizer_->bytes(id, true) : std::string();
  }
  prompt.stops = stop_texts(wrapping);
  return prompt;
}

}  // namespace moxie

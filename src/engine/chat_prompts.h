// Whole conversations to prompts, for servers: each request brings all its messages. Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/chat_template.h"
#include "chat/chat_tokens.h"
#include "moxie/engine.h"
#include "text/instruct.h"

namespace moxie {

class ChatPrompts {
 public:
  // The engine must outlive it. Without a template of the model's, and none chosen, one of a few well-known wrappings
  // is used. Errors: unsupported, the model carries no tokenizer; those of ChatTemplate::choose.
  static Result<ChatPrompts> create(const Engine& engine, const TemplateChoice& choice);

  struct Prompt {
    std::string text;  // as rendered
    std::vector<int32_t> ids;
    std::vector<std::string> stops;  // texts with which the model goes on to play the user
  };
  // An answer at the end of the messages is gone on with: nothing stands between it and what the model writes. Errors:
  // invalid_argument, the template refuses the conversation, with its words.
  Result<Prompt> write(const ChatInput& input) const;

  const std::string& form() const { return form_; }  // "chat_template.jinja", "Mistral v1"
  const std::string& why() const { return why_; }
  // Jinja of the template that answers such requests; empty: there is none, the form is a wrapping.
  const std::string& source(bool with_tools) const;
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  explicit ChatPrompts(const Tokenizer& tokenizer) : tokenizer_(&tokenizer), encoder_(tokenizer) {}
  Result<Prompt> wrapped(const Json& messages) const;

  const Tokenizer* tokenizer_;
  ChatEncoder encoder_;
  std::optional<ChatTemplate> plain_, with_tools_;  // with_tools_: where the model has a variant
  std::optional<WrappingChoice> wrapping_;
  std::string form_, why_;
};

}  // namespace moxie

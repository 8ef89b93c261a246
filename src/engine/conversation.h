// A conversation with a model, written in the model's own form: its template over all messages, or where it has none
// one of a few well-known wrappings, or plain text. Only what is new goes to the model. Belongs to one sequence; not
// thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_template.h"
#include "chat/chat_tokens.h"
#include "moxie/engine.h"
#include "text/instruct.h"

namespace moxie {

struct SaidMessage {
  std::string role, content;
};

struct ConversationOptions {
  std::string system;
  TemplateChoice choice;  // "none" as `given`: no form at all, the model goes on with the user's text
  Json extra = {};        // variables for the template
};

class Conversation {
 public:
  // What to do with the sequence before the answer: keep so many of its tokens, then append these.
  struct Turn {
    int64_t keep = 0;
    std::vector<int32_t> ids;
  };

  // The engine must outlive the conversation. Errors: unsupported, the model carries no tokenizer; those of
  // ChatTemplate::choose.
  static Result<Conversation> create(const Engine& engine, ConversationOptions options);

  const std::string& form() const { return form_; }  // "chat_template.jinja", "Mistral v1", "plain text"
  const std::string& why() const { return why_; }
  bool folds_system() const { return template_ && template_->folds_system(); }

  // The user's next message. `context`: what the sequence holds. The message counts once answered() is called; an error
  // or a turn that is not used leaves the conversation as it is.
  Result<Turn> say(std::string_view user, std::span<const int32_t> context);
  // What the model wrote, without end tokens and stop texts. `whole`: the sequence holds all of it (one that was
  // stopped lacks its last token).
  void answered(std::string_view text, bool whole = true);

  const std::vector<SaidMessage>& messages() const { return messages_; }  // without the system's
  const std::string& system() const { return system_; }
  // Another system text or other messages: everything is written anew with the next turn.
  void set_system(std::string system);
  void set_messages(std::vector<SaidMessage> messages);

  // Texts with which the model goes on to play the user.
  std::vector<std::string> stops() const;

 private:
  Conversation(const Tokenizer& tokenizer, ConversationOptions options)
      : tokenizer_(&tokenizer),
        encoder_(tokenizer),
        system_(std::move(options.system)),
        extra_(std::move(options.extra)) {}
  Result<Turn> templated_turn(std::span<const int32_t> context);
  Result<Turn> wrapped_turn(std::span<const int32_t> context);
  Result<std::string> rendered() const;
  // What a rendered text adds to what the sequence stands for, whatever blanks the template puts around the last
  // answer.
  std::optional<std::string_view> after_answer(std::string_view text) const;
  // The ids from the start on, less what the sequence holds already.
  static Turn reusing(std::span<const int32_t> context, std::vector<int32_t> ids);

  const Tokenizer* tokenizer_;
  ChatEncoder encoder_;
  std::optional<ChatTemplate> template_;
  std::optional<WrappingChoice> wrapping_;  // neither: plain text
  std::string form_, why_;
  std::string system_;
  Json extra_;
  std::vector<SaidMessage> messages_;
  std::string pending_;               // the user's message that waits for its answer
  std::string asked_;                 // the rendered text up to the answer that is awaited
  std::string answered_to_, answer_;  // and of the last turn, with its answer: what the sequence stands for
  bool stale_ = true;                 // the sequence holds something else
};

}  // namespace moxie

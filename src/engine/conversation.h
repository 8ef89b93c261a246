// How turns of a conversation are written for a model: the form is chosen from the model's template, vocabulary or
// name, since templates themselves are not rendered. Belongs to one sequence; not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/engine.h"
#include "text/instruct.h"

namespace moxie {

class Conversation {
 public:
  // The engine must outlive the conversation. Errors: unsupported, the model carries no tokenizer.
  static Result<Conversation> create(const Engine& engine, std::string system);

  std::string_view form() const { return name(choice_.wrapping); }  // "Mistral v1"
  const std::string& why() const { return choice_.why; }
  // The ids to append for the user's next message: what ends the last answer, the message, what begins the next answer.
  std::vector<int32_t> next_turn(std::string_view user);
  // Texts with which the model goes on to play the user.
  std::vector<std::string> stops() const { return stop_texts(choice_.wrapping); }

 private:
  Conversation(const Tokenizer& tokenizer, WrappingChoice choice, std::string system)
      : tokenizer_(&tokenizer), choice_(std::move(choice)), system_(std::move(system)) {}

  const Tokenizer* tokenizer_;
  WrappingChoice choice_;
  std::string system_;
  bool first_ = true;
};

}  // namespace moxie

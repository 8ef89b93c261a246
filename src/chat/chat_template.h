// How a model wants conversations written: where its template comes from, and the rendering. A ChatTemplate is
// immutable; any number of threads may render it.
#pragma once

#include <ctime>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/template.h"
#include "core/json.h"
#include "core/tokenizer_source.h"
#include "moxie/error.h"

namespace moxie {

struct ModelTemplate {
  std::string name;    // empty, or a variant: "tool_use"
  std::string text;    // Jinja
  std::string origin;  // "chat_template.jinja"
};

// What a model's files bring, the default first: of a checkpoint from chat_template.jinja, chat_template.json or
// tokenizer_config.json (the first of them that has one) and additional_chat_templates/, of a GGUF file from its keys.
std::vector<ModelTemplate> model_templates(const TokenizerSource& source);

struct TemplateChoice {
  std::string given;      // a built-in name, a variant of the model's, or a template's text; empty: the model's own
  std::string file_text;  // the text of a file, with `file` its name
  std::string file;
  bool tools = false;    // prefer the variant "tool_use"
  std::string bos, eos;  // texts of the tokens
};

struct ChatInput {
  Json messages;        // an array of objects with "role" and "content"
  Json tools = {};      // null: none
  Json documents = {};  // likewise
  Json extra = {};      // an object: further variables
  bool add_generation_prompt = true;
};

class ChatTemplate {
 public:
  // The choice comes first, then the model's, in their order. Errors: not_found, the model has none and none is given;
  // corrupt, with the line; unsupported.
  static Result<ChatTemplate> choose(std::span<const ModelTemplate> model, const TemplateChoice& choice);

  const std::string& origin() const { return origin_; }  // "chat_template.jinja", "built-in llama3"
  const std::string& text() const { return text_; }      // Jinja
  // The template has no place for a system message: it goes before the first user's.
  bool folds_system() const { return folds_system_; }

  // Errors: invalid_argument, the template refuses the conversation, with its words.
  Result<std::string> render(const ChatInput& input, const std::tm& now) const;

 private:
  ChatTemplate(jinja::Template parsed, std::string text, std::string origin, std::string bos, std::string eos)
      : template_(std::move(parsed)),
        text_(std::move(text)),
        origin_(std::move(origin)),
        bos_(std::move(bos)),
        eos_(std::move(eos)) {}
  jinja::Template::Outcome render_plain(const ChatInput& input, const std::tm& now) const;
  void probe();

  jinja::Template template_;
  std::string text_, origin_, bos_, eos_;
  bool folds_system_ = false;
};

// The conversation with its leading system messages put before the first user message.
Json fold_system(const Json& messages);

}  // namespace moxie

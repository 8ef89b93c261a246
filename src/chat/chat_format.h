// How a model chats, beyond its template: what of a request it is given, how its answer is read, and what a grammar
// makes it write. Immutable; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/answer_parser.h"
#include "chat/chat_history.h"
#include "chat/chat_template.h"
#include "chat/tool_set.h"
#include "core/json.h"
#include "moxie/error.h"

namespace moxie {

// A request's part that a ChatFormat looks at.
struct ChatWish {
  Json messages;     // in OpenAI's shape
  Json tools;        // null, or a list in OpenAI's shape
  Json tool_choice;  // null, "none", "auto", "required", {type: "function", function: {name}}, {type: "allowed_tools"}
  std::optional<bool> parallel_tool_calls;
  Json extra;  // variables of the template
};

class ChatFormat;

// A request as the model is given it.
struct ChatPlan {
  ChatInput input;  // for the template
  ToolSet tools;    // that the answer may call; empty: it cannot call
  enum class Choice { automatic, required } choice = Choice::automatic;
  bool parallel = true;
  size_t earlier_calls = 0;
};

class ChatFormat {
 public:
  // `template_text` empty: a wrapping stands in for a template. `render` is asked a few times, at once.
  static ChatFormat probe(std::string_view template_text, const RenderChat& render);

  // Errors: invalid_argument, naming the field.
  Result<ChatPlan> plan(const ChatWish& wish) const;
  // `prompt`: the plan's input as rendered.
  AnswerParserOptions parser(const ChatPlan& plan, std::string_view prompt, uint64_t id_seed) const;
  // What sampling must be held to (SamplingOptions::structure), so that a wanted call comes, and a call that comes has
  // its form; empty: nothing. `json_schema`: what an answer that is no call must match; empty: nothing. Errors:
  // invalid_argument, a strict tool whose schema no grammar can say.
  Result<std::string> structure(const ChatPlan& plan, std::string_view prompt, std::string_view json_schema) const;
  // Generate with GenerateOptions::special.
  bool shows_control() const { return format_.shows_control(); }

  const ToolFormat& calls() const { return *format_.calls; }
  const HistoryStyle& history() const { return style_; }
  const ReasoningMarks& reasoning() const { return format_.reasoning; }

 private:
  AnswerFormat format_;
  HistoryStyle style_;
  std::string template_text_;
};

}  // namespace moxie

// Conversations as clients send them, made into what a template takes: tool calls with and without ids, arguments as
// text or object, roles out of order, contents in parts or absent. Pure functions.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "chat/chat_template.h"
#include "chat/tool_format.h"
#include "core/json.h"
#include "moxie/error.h"

namespace moxie {

// Renders a conversation: a template's, or what stands in for one.
using RenderChat = std::function<Result<std::string>(const ChatInput&)>;

// What a template takes.
struct HistoryStyle {
  bool shows_tools = true;         // it writes down the tools that are offered
  bool takes_calls = true;         // it writes an assistant's calls
  bool takes_results = true;       // it has a place for the role "tool"
  bool arguments_as_text = false;  // it wants the arguments of calls as JSON text, not as objects
  bool null_content = false;       // beside calls it wants a content of null
  bool takes_several = true;       // an assistant may call several tools at once; else they become turns of one call
  bool content_in_parts = false;   // it overlooks a content that is a text: parts alone count
  bool takes_any_order = true;     // two users in a row are two turns; else they become one
  bool takes_answer_first = true;  // the conversation may begin with the assistant
  bool takes_late_system = true;   // a system message may follow others; else it becomes the user's
  CallIds ids = CallIds::plain;
  bool keeps_thinking = false;  // reasoning goes by the name "thinking"
};

// Finds out by rendering small conversations.
HistoryStyle probe_history(const RenderChat& render);

// The messages (in OpenAI's shape) in that style. Never fails: what is odd beyond repair stays for the template to
// judge.
Json normalised_messages(const Json& messages, const HistoryStyle& style);

// How many calls the assistant has made in it.
size_t count_calls(const Json& messages);

}  // namespace moxie

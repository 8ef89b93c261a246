// A chat as the server understands it, whatever the wire format it came in: the request, the answer as it comes, and
// the answer as a whole. Plain data.
//
// A wire format (OpenAI chat, Anthropic Messages, OpenAI Responses) is a ChatDialect: it reads requests and writes
// answers, whole or as a stream, and errors. It knows no HTTP, no model and no scheduler.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "chat/answer_event.h"
#include "core/json.h"
#include "moxie/error.h"
#include "moxie/options.h"

namespace moxie::server {

struct ChatRequest {
  std::string model;  // as the client wrote it; empty: it named none
  Json messages;      // an array in OpenAI's shape: role, content (text, parts or null), tool_calls, tool_call_id, name
  Json tools;         // null, or an array of {type: "function", function: {name, description, parameters, strict}}
  Json tool_choice;   // null, "none", "auto", "required" or {type: "function", function: {name}}
  std::optional<bool> parallel_tool_calls;
  Json response_format;           // null, or OpenAI's: {type: "text" | "json_object" | "json_schema", ...}
  Json template_variables;        // null, or an object: further variables of the chat template
  std::optional<bool> reasoning;  // the client wants it, or wants none; told to the template as enable_thinking
  std::string reasoning_effort;   // "low", "medium", "high"; empty: not said
  GenerateOptions generate;       // begins as the server's defaults
  bool stream = false;
  bool include_usage = false;  // OpenAI's stream_options
  int choices = 1;             // OpenAI's n
  int top_logprobs = -1;       // -1: no logprobs; else how many alternatives come with each token
  bool cache_prompt = true;
  bool timings_per_token = false;
  // What the wire format echoes in its answer, such as Responses' instructions or metadata: an object or null.
  Json echo;
};

struct TokenAlternative {
  int32_t id = -1;
  std::string bytes;  // perhaps no valid UTF-8 by themselves
  float logprob = 0;
};

struct TokenLogprob {
  TokenAlternative token;
  std::vector<TokenAlternative> top;  // likeliest first
};

struct ChatUsage {
  int64_t prompt_tokens = 0;      // all of them, cached ones too
  int64_t cached_tokens = 0;      // of those, what was reused
  int64_t completion_tokens = 0;  // of all choices
  int64_t reasoning_tokens = 0;   // of those, what was reasoning
};

enum class FinishReason {
  stop,        // the model ended its answer
  stop_text,   // at one of the request's stop texts
  length,      // max_tokens or the context
  tool_calls,  // the answer calls tools
};

struct FinishedChoice {
  FinishReason reason = FinishReason::stop;
  std::string stop_text;  // with stop_text
};

// One step of an answer. Every choice begins silently, may have pieces, and ends with one FinishedChoice.
struct ChatEvent {
  int choice = 0;
  std::variant<AnswerEvent, FinishedChoice> what;
  std::vector<TokenLogprob> logprobs;  // of the tokens that this piece came from, where they were asked for
};

struct ToolCall {
  std::string id, name, arguments;  // arguments: JSON text
};

struct ChatChoice {
  std::string text, reasoning;
  std::vector<ToolCall> calls;
  std::vector<TokenLogprob> logprobs;
  FinishedChoice finished;
};

struct ChatAnswer {
  std::vector<ChatChoice> choices;
  ChatUsage usage;
  Json timings;  // llama.cpp's, with the experts' figures; an object or null
};

// Who answers: the same over a whole answer.
struct AnswerIdentity {
  std::string key;      // letters and digits; formats put their prefix before it: "chatcmpl-" + key
  std::string model;    // the id of the model that answers
  int64_t created = 0;  // seconds since 1970
  int64_t prompt_tokens = 0, cached_tokens = 0;  // known before the first token, as far as they can be
};

// Writes the events of one request as server-sent events, appending to `out`. Order of calls: begin, event...,
// and then end or failure. Not thread-safe.
class ChatStreamWriter {
 public:
  virtual ~ChatStreamWriter() = default;
  virtual void begin(std::string& out) = 0;
  virtual void event(const ChatEvent& event, std::string& out) = 0;
  virtual void end(const ChatAnswer& answer, std::string& out) = 0;
  virtual void failure(const Error& error, std::string& out) = 0;  // after begin; nothing follows
};

struct ChatDialect {
  std::string_view name;
  // The request in a parsed body. `defaults`: what the server was started with. Errors: invalid_argument, naming the
  // field, what it is and what it may be. Unknown fields are ignored.
  Result<ChatRequest> (*read)(const Json& body, const GenerateOptions& defaults);
  // The answer as the body of a response. `request` as read() gave it.
  Json (*answer)(const ChatRequest& request, const AnswerIdentity& identity, const ChatAnswer& answer);
  std::unique_ptr<ChatStreamWriter> (*stream)(const ChatRequest& request, const AnswerIdentity& identity);
  // The body of an error response.
  Json (*error)(const Error& error, int http_status, std::string_view request_id);
};

}  // namespace moxie::server

#include "server/wire_anthropic.h"

#include "server/json_build.h"
#include "server/sse.h"
#include "server/wire_anthropic_request.h"

namespace moxie::server {
namespace {

std::string_view stop_reason(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "end_turn";
    case FinishReason::stop_text:
      return "stop_sequence";
    case FinishReason::length:
      return "max_tokens";
    case FinishReason::tool_calls:
      return "tool_use";
  }
  return "end_turn";
}

JsonPart stop_sequence(const FinishedChoice& finished) {
  if (finished.reason != FinishReason::stop_text) return nullptr;
  return finished.stop_text;
}

// Cached tokens are counted apart.
Json usage_json(int64_t prompt, int64_t cached, int64_t output) {
  return object({{"input_tokens", prompt - cached},
                 {"cache_creation_input_tokens", 0},
                 {"cache_read_input_tokens", cached},
                 {"output_tokens", output}});
}

Json message_json(const AnswerIdentity& identity, Json content, JsonPart reason, JsonPart sequence, Json usage) {
  return object({{"id", "msg_" + identity.key},
                 {"type", "message"},
                 {"role", "assistant"},
                 {"model", identity.model},
                 {"content", std::move(content)},
                 {"stop_reason", std::move(reason)},
                 {"stop_sequence", std::move(sequence)},
                 {"usage", std::move(usage)}});
}

Json input_of(const std::string& arguments) {
  auto parsed = parse_json(arguments, "arguments");
  if (!parsed.ok() || parsed->object() == nullptr) return object();
  return *std::move(parsed);
}

Json answer(const ChatRequest&, const AnswerIdentity& identity, const ChatAnswer& answer) {
  const ChatChoice empty;
  const ChatChoice& choice = answer.choices.empty() ? empty : answer.choices.front();
  Json content = array();
  if (!choice.reasoning.empty()) {
    push(content, object({{"type", "thinking"}, {"thinking", choice.reasoning}, {"signature", ""}}));
  }
  if (!choice.text.empty()) push(content, object({{"type", "text"}, {"text", choice.text}}));
  for (const ToolCall& call : choice.calls) {
    push(content,
         object({{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", input_of(call.arguments)}}));
  }
  return message_json(
      identity, std::move(content), stop_reason(choice.finished.reason), stop_sequence(choice.finished),
      usage_json(answer.usage.prompt_tokens, answer.usage.cached_tokens, answer.usage.completion_tokens));
}

Json error_json(std::string_view type, std::string_view message) {
  return object({{"type", "error"}, {"error", object({{"type", type}, {"message", message}})}});
}

// Blocks come strictly one after another: each closes before the next opens.
class Writer final : public ChatStreamWriter {
 public:
  explicit Writer(AnswerIdentity identity) : identity_(std::move(identity)) {}

  void begin(std::string& out) override {
    Json message = message_json(identity_, array(), nullptr, nullptr,
                                usage_json(identity_.prompt_tokens, identity_.cached_tokens, 0));
    send("message_start", object({{"message", std::move(message)}}), out);
    send("ping", object(), out);
  }

  void event(const ChatEvent& event, std::string& out) override {
    if (event.choice != 0) return;
    if (const auto* finished = std::get_if<FinishedChoice>(&event.what)) {
      finished_ = *finished;
      return;
    }
    const auto& piece = std::get<AnswerEvent>(event.what);
    switch (piece.kind) {
      case AnswerEvent::Kind::text:
        open(Block::text, object({{"type", "text"}, {"text", ""}}), out);
        delta(object({{"type", "text_delta"}, {"text", piece.text}}), out);
        break;
      case AnswerEvent::Kind::reasoning:
        open(Block::thinking, object({{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}), out);
        delta(object({{"type", "thinking_delta"}, {"thinking", piece.text}}), out);
        break;
      case AnswerEvent::Kind::call_begin:
        close(out);
        open(Block::call, object({{"type", "tool_use"}, {"id", piece.id}, {"name", piece.name}, {"input", object()}}),
             out);
        break;
      case AnswerEvent::Kind::call_arguments:
        delta(object({{"type", "input_json_delta"}, {"partial_json", piece.text}}), out);
        break;
      case AnswerEvent::Kind::call_end:
        close(out);
        break;
    }
  }

  void end(const ChatAnswer& answer, std::string& out) override {
    close(out);
    send("message_delta",
         object({{"delta", object({{"stop_reason", stop_reason(finished_.reason)},
                                   {"stop_sequence", stop_sequence(finished_)}})},
                 {"usage",
                  usage_json(answer.usage.prompt_tokens, answer.usage.cached_tokens, answer.usage.completion_tokens)}}),
         out);
    send("message_stop", object(), out);
  }

  void failure(const Error& error, std::string& out) override {
    const bool busy = error.code == ErrorCode::unavailable;
    const bool refused = error.code == ErrorCode::invalid_argument;
    const std::string_view type = busy ? "overloaded_error" : refused ? "invalid_request_error" : "api_error";
    append_event(out, "error", error_json(type, error.message));
  }

 private:
  enum class Block { none, text, thinking, call };

  static void send(std::string_view name, const Json& rest, std::string& out) {
    Json event = object({{"type", name}});
    for (const auto& [key, value] : *rest.object()) put(event, key, value);
    append_event(out, name, event);
  }

  void open(Block block, Json content, std::string& out) {
    if (open_ == block) return;
    close(out);
    open_ = block;
    send("content_block_start", object({{"index", index_}, {"content_block", std::move(content)}}), out);
  }

  void delta(Json delta, std::string& out) const {
    send("content_block_delta", object({{"index", index_}, {"delta", std::move(delta)}}), out);
  }

  void close(std::string& out) {
    if (open_ == Block::none) return;
    send("content_block_stop", object({{"index", index_++}}), out);
    open_ = Block::none;
  }

  const AnswerIdentity identity_;
  Block open_ = Block::none;
  int64_t index_ = 0;
  FinishedChoice finished_;
};

std::unique_ptr<ChatStreamWriter> stream(const ChatRequest&, const AnswerIdentity& identity) {
  return std::make_unique<Writer>(identity);
}

Json error(const Error& error, int http_status, std::string_view request_id) {
  Json body = error_json(anthropic_error_type(http_status), error.message);
  put(body, "request_id", request_id);
  return body;
}

Result<ChatRequest> read(const Json& body, const GenerateOptions& defaults) {
  return read_anthropic_request(body, defaults, true);
}

Result<ChatRequest> read_to_count(const Json& body, const GenerateOptions& defaults) {
  return read_anthropic_request(body, defaults, false);
}

}  // namespace

std::string_view anthropic_error_type(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    default:
      return http_status >= 400 && http_status < 500 ? "invalid_request_error" : "api_error";
  }
}

Json anthropic_token_count(int64_t tokens) {
  return object({{"input_tokens", tokens}});
}

extern const ChatDialect anthropic_messages = {
    .name = "anthropic messages", .read = read, .answer = answer, .stream = stream, .error = error};

extern const ChatDialect anthropic_count_tokens = {
    .name = "anthropic count_tokens", .read = read_to_count, .answer = answer, .stream = stream, .error = error};

}  // namespace moxie::server

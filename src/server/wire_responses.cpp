#include "server/wire_responses.h"

#include <fmt/format.h>

#include "server/json_build.h"
#include "server/sse.h"
#include "server/wire_responses_request.h"

namespace moxie::server {
namespace {

std::string numbered(std::string_view prefix, const AnswerIdentity& identity, size_t index) {
  return fmt::format("{}_{}{}", prefix, identity.key, index);
}

Json text_part(const std::string& text) {
  return object({{"type", "output_text"}, {"text", text}, {"annotations", array()}, {"logprobs", array()}});
}

Json message_item(const std::string& id, std::string_view status, Json content) {
  return object(
      {{"id", id}, {"type", "message"}, {"status", status}, {"role", "assistant"}, {"content", std::move(content)}});
}

Json reasoning_item(const std::string& id, std::string_view status, Json content) {
  return object({{"id", id},
                 {"type", "reasoning"},
                 {"summary", array()},
                 {"content", std::move(content)},
                 {"encrypted_content", nullptr},
                 {"status", status}});
}

Json reasoning_part(const std::string& text) {
  return object({{"type", "reasoning_text"}, {"text", text}});
}

Json call_item(const std::string& id, std::string_view status, const ToolCall& call) {
  return object({{"id", id},
                 {"type", "function_call"},
                 {"status", status},
                 {"call_id", call.id},
                 {"name", call.name},
                 {"arguments", call.arguments}});
}

Json usage_json(const ChatUsage& usage) {
  return object({{"input_tokens", usage.prompt_tokens},
                 {"input_tokens_details", object({{"cached_tokens", usage.cached_tokens}, {"cache_write_tokens", 0}})},
                 {"output_tokens", usage.completion_tokens},
                 {"output_tokens_details", object({{"reasoning_tokens", usage.reasoning_tokens}})},
                 {"total_tokens", usage.prompt_tokens + usage.completion_tokens}});
}

// What a response is besides its output.
struct Outcome {
  std::string_view status = "in_progress";
  JsonPart error = nullptr, incomplete = nullptr, usage = nullptr;
};

Json response_json(const ChatRequest& request, const AnswerIdentity& identity, Json output, Outcome outcome) {
  const auto echoed = [&](std::string_view key, JsonPart otherwise) {
    const Json* value = request.echo.find(key);
    return value != nullptr ? JsonPart(*value) : std::move(otherwise);
  };
  Json effort = object({{"effort", nullptr}, {"summary", nullptr}});
  Json text = object({{"format", object({{"type", "text"}})}});
  const auto& sampling = request.generate.sampling;
  return object({{"id", "resp_" + identity.key},
                 {"object", "response"},
                 {"created_at", identity.created},
                 {"status", outcome.status},
                 {"background", false},
                 {"error", std::move(outcome.error)},
                 {"incomplete_details", std::move(outcome.incomplete)},
                 {"instructions", echoed("instructions", nullptr)},
                 {"max_output_tokens", echoed("max_output_tokens", nullptr)},
                 {"max_tool_calls", nullptr},
                 {"model", identity.model},
                 {"output", std::move(output)},
                 {"parallel_tool_calls", request.parallel_tool_calls.value_or(true)},
                 {"previous_response_id", nullptr},
                 {"prompt_cache_key", echoed("prompt_cache_key", nullptr)},
                 {"reasoning", echoed("reasoning", std::move(effort))},
                 {"service_tier", "default"},
                 {"store", false},
                 {"temperature", static_cast<double>(sampling.temp)},
                 {"text", echoed("text", std::move(text))},
                 {"tool_choice", echoed("tool_choice", "auto")},
                 {"tools", echoed("tools", array())},
                 {"top_logprobs", 0},
                 {"top_p", static_cast<double>(sampling.top_p)},
                 {"truncation", echoed("truncation", "disabled")},
                 {"usage", std::move(outcome.usage)},
                 {"user", echoed("user", nullptr)},
                 {"metadata", echoed("metadata", object())}});
}

Outcome outcome_of(const FinishedChoice& finished, const ChatUsage& usage) {
  Outcome outcome{.status = "completed", .usage = usage_json(usage)};
  if (finished.reason == FinishReason::length) {
    outcome.status = "incomplete";
    outcome.incomplete = object({{"reason", "max_output_tokens"}});
  }
  return outcome;
}

Json answer(const ChatRequest& request, const AnswerIdentity& identity, const ChatAnswer& answer) {
  const ChatChoice empty;
  const ChatChoice& choice = answer.choices.empty() ? empty : answer.choices.front();
  const std::string_view status = choice.finished.reason == FinishReason::length ? "incomplete" : "completed";
  Json output = array();
  size_t index = 0;
  if (!choice.reasoning.empty()) {
    push(output,
         reasoning_item(numbered("rs", identity, index++), "completed", array({reasoning_part(choice.reasoning)})));
  }
  if (!choice.text.empty() || choice.calls.empty()) {
    push(output, message_item(numbered("msg", identity, index++), status, array({text_part(choice.text)})));
  }
  for (const ToolCall& call : choice.calls) {
    push(output, call_item(numbered("fc", identity, index++), "completed", call));
  }
  return response_json(request, identity, std::move(output), outcome_of(choice.finished, answer.usage));
}

// Items come one after another, each with all its events before the next begins.
class Writer final : public ChatStreamWriter {
 public:
  Writer(const ChatRequest& request, AnswerIdentity identity) : request_(request), identity_(std::move(identity)) {}

  void begin(std::string& out) override {
    send("response.created", object({{"response", response_json(request_, identity_, array(), {})}}), out);
    send("response.in_progress", object({{"response", response_json(request_, identity_, array(), {})}}), out);
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
        if (open_ != Item::message) open_text(Item::message, out);
        text_ += piece.text;
        part_event("response.output_text.delta", {{"delta", piece.text}, {"logprobs", array()}}, out);
        break;
      case AnswerEvent::Kind::reasoning:
        if (open_ != Item::reasoning) open_text(Item::reasoning, out);
        text_ += piece.text;
        part_event("response.reasoning_text.delta", {{"delta", piece.text}}, out);
        break;
      case AnswerEvent::Kind::call_begin:
        close("completed", out);
        open_ = Item::call;
        call_ = {.id = piece.id, .name = piece.name, .arguments = {}};
        id_ = numbered("fc", identity_, index());
        item_event("response.output_item.added", call_item(id_, "in_progress", call_), out);
        break;
      case AnswerEvent::Kind::call_arguments:
        call_.arguments += piece.text;
        send("response.function_call_arguments.delta",
             object({{"item_id", id_}, {"output_index", index()}, {"delta", piece.text}}), out);
        break;
      case AnswerEvent::Kind::call_end:
        close("completed", out);
        break;
    }
  }

  void end(const ChatAnswer& answer, std::string& out) override {
    const bool cut = finished_.reason == FinishReason::length;
    // An answer of nothing is a message of nothing.
    if (open_ == Item::none && output_.empty()) open_text(Item::message, out);
    close(cut ? "incomplete" : "completed", out);
    Json response = response_json(request_, identity_, Json{output_}, outcome_of(finished_, answer.usage));
    send(cut ? "response.incomplete" : "response.completed", object({{"response", std::move(response)}}), out);
  }

  void failure(const Error& error, std::string& out) override {
    Outcome outcome{.status = "failed", .error = object({{"code", "server_error"}, {"message", error.message}})};
    Json response = response_json(request_, identity_, Json{output_}, std::move(outcome));
    send("response.failed", object({{"response", std::move(response)}}), out);
  }

 private:
  enum class Item { none, message, reasoning, call };

  size_t index() const { return output_.size(); }

  void send(std::string_view name, const Json& rest, std::string& out) {
    Json event = object({{"type", name}, {"sequence_number", sequence_++}});
    for (const auto& [key, value] : *rest.object()) put(event, key, value);
    append_event(out, name, event);
  }

  void item_event(std::string_view name, Json item, std::string& out) {
    send(name, object({{"output_index", index()}, {"item", std::move(item)}}), out);
  }

  void part_event(std::string_view name, std::initializer_list<std::pair<std::string_view, JsonPart>> rest,
                  std::string& out) {
    Json event = object({{"item_id", id_}, {"output_index", index()}, {"content_index", 0}});
    for (const auto& [key, value] : rest) put(event, key, value.json);
    send(name, event, out);
  }

  void open_text(Item item, std::string& out) {
    close("completed", out);
    open_ = item;
    text_.clear();
    const bool message = item == Item::message;
    id_ = numbered(message ? "msg" : "rs", identity_, index());
    item_event("response.output_item.added",
               message ? message_item(id_, "in_progress", array()) : reasoning_item(id_, "in_progress", array()), out);
    part_event("response.content_part.added", {{"part", message ? text_part("") : reasoning_part("")}}, out);
  }

  void close(std::string_view status, std::string& out) {
    if (open_ == Item::none) return;
    Json item;
    if (open_ == Item::message) {
      part_event("response.output_text.done", {{"text", text_}, {"logprobs", array()}}, out);
      part_event("response.content_part.done", {{"part", text_part(text_)}}, out);
      item = message_item(id_, status, array({text_part(text_)}));
    } else if (open_ == Item::reasoning) {
      part_event("response.reasoning_text.done", {{"text", text_}}, out);
      part_event("response.content_part.done", {{"part", reasoning_part(text_)}}, out);
      item = reasoning_item(id_, status, array({reasoning_part(text_)}));
    } else {
      send("response.function_call_arguments.done",
           object({{"item_id", id_}, {"output_index", index()}, {"name", call_.name}, {"arguments", call_.arguments}}),
           out);
      item = call_item(id_, "completed", call_);
    }
    item_event("response.output_item.done", item, out);
    output_.push_back(std::move(item));
    open_ = Item::none;
  }

  const ChatRequest request_;
  const AnswerIdentity identity_;
  int64_t sequence_ = 0;
  Json::Array output_;  // items that are done
  Item open_ = Item::none;
  std::string id_, text_;  // of the open item
  ToolCall call_;
  FinishedChoice finished_;
};

std::unique_ptr<ChatStreamWriter> stream(const ChatRequest& request, const AnswerIdentity& identity) {
  return std::make_unique<Writer>(request, identity);
}

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_exceeded";
    case 503:
      return "unavailable_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

Json error(const Error& error, int http_status, std::string_view) {
  return object({{"error", object({{"message", error.message},
                                   {"type", error_type(http_status)},
                                   {"param", nullptr},
                                   {"code", http_status}})}});
}

}  // namespace

extern const ChatDialect openai_responses = {
    .name = "openai responses", .read = read_responses_request, .answer = answer, .stream = stream, .error = error};

}  // namespace moxie::server

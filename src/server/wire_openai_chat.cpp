#include "server/wire_openai_chat.h"

#include <algorithm>

#include "core/fail.h"
#include "server/fields.h"
#include "server/json_build.h"
#include "server/request_error.h"
#include "server/sampling_fields.h"
#include "server/sse.h"
#include "text/detokenizer.h"

namespace moxie::server {
namespace {

constexpr int kChoicesMax = 16, kTopLogprobsMax = 20;
constexpr int64_t kTokensMax = int64_t{1} << 40;

// ---- requests ----

// Parts of a message as one text: templates of text models want texts.
Result<Json> plain_content(const Json& content, const std::string& where) {
  if (content.is_null() || content.text() != nullptr) return content;
  if (content.array() == nullptr) {
    return fail(ErrorCode::invalid_argument, "'{}' is {}; it must be a text, a list of parts or null", where,
                shown(content));
  }
  std::string joined;
  bool first = true;
  for (const Json& part : *content.array()) {
    const Json* type = part.find("type");
    const Json* text = part.find("text");
    if (part.text() != nullptr) text = &part;
    const bool is_text = type == nullptr || type->text() == nullptr || *type->text() == "text" ||
                         *type->text() == "input_text" || *type->text() == "output_text" || *type->text() == "refusal";
    if (!is_text) {
      return fail(ErrorCode::invalid_argument, "'{}' has a part of type {}; this model takes text alone", where,
                  shown(*type));
    }
    if (text == nullptr || text->text() == nullptr) {
      return fail(ErrorCode::invalid_argument, "'{}' has a part {} without a \"text\"", where, shown(part));
    }
    if (!first) joined += '\n';
    joined += *text->text();
    first = false;
  }
  return Json{std::move(joined)};
}

Result<Json> plain_message(const Json& message, size_t index) {
  const std::string where = fmt::format("messages[{}]", index);
  if (message.object() == nullptr) {
    return fail(ErrorCode::invalid_argument, "'{}' is {}; it must be an object with role and content", where,
                shown(message));
  }
  const Json* role = message.find("role");
  if (role == nullptr || role->text() == nullptr) {
    return fail(ErrorCode::invalid_argument,
                "'{}.role' is {}; it must be system, developer, user, assistant, tool or function", where,
                role == nullptr ? "missing" : shown(*role));
  }
  const std::string& name = *role->text();
  static constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool", "function"};
  if (std::find(std::begin(kRoles), std::end(kRoles), name) == std::end(kRoles)) {
    return fail(ErrorCode::invalid_argument,
                "'{}.role' is {}; it must be system, developer, user, assistant, tool or function", where,
                shown(*role));
  }
  Json::Object made;
  bool has_content = false;
  for (const auto& [key, value] : *message.object()) {
    if (key == "role") {
      made.push_back({key, Json{name == "developer" ? std::string("system") : name}});
    } else if (key == "content") {
      MOXIE_TRY(Json content, plain_content(value, where + ".content"));
      has_content = true;
      made.push_back({key, std::move(content)});
    } else if (!value.is_null()) {
      made.push_back({key, value});
    }
  }
  if (!has_content) {
    if (name != "assistant") {
      return fail(ErrorCode::invalid_argument, "'{}.content' is missing; a message of the {} needs it", where, name);
    }
    made.push_back({"content", Json{}});
  }
  return Json{std::move(made)};
}

void read_messages(Fields& fields, ChatRequest& request) {
  const Json* messages = fields.find("messages");
  if (messages == nullptr || messages->array() == nullptr || messages->array()->empty()) {
    return fields.fail_with(fail(ErrorCode::invalid_argument,
                                 "'messages' is {}; it must be a list of at least one message",
                                 messages == nullptr ? "missing" : shown(*messages)));
  }
  Json::Array made;
  for (size_t i = 0; i < messages->array()->size(); ++i) {
    auto message = plain_message((*messages->array())[i], i);
    if (!message.ok()) return fields.fail_with(std::move(message).error());
    made.push_back(*std::move(message));
  }
  request.messages = Json{std::move(made)};
}

// The older names: functions and function_call.
void read_tools(Fields& fields, ChatRequest& request) {
  fields.array("tools", request.tools);
  Json functions;
  fields.array("functions", functions);
  if (request.tools.is_null() && functions.array() != nullptr && fields.ok()) {
    request.tools = array();
    for (const Json& function : *functions.array()) {
      push(request.tools, object({{"type", "function"}, {"function", function}}));
    }
  }
  if (const Json* choice = fields.find("tool_choice")) {
    if (choice->text() == nullptr && choice->object() == nullptr) {
      return fields.refuse("tool_choice", *choice, R"("none", "auto", "required" or an object that names a function)");
    }
    request.tool_choice = *choice;
  } else if (const Json* call = fields.find("function_call")) {
    request.tool_choice = call->object() != nullptr ? object({{"type", "function"}, {"function", *call}}) : *call;
  }
  fields.flag("parallel_tool_calls", request.parallel_tool_calls);
}

void read_logprobs(Fields& fields, ChatRequest& request) {
  bool wanted = false;
  int top = 0;
  fields.flag("logprobs", wanted);
  fields.integer("top_logprobs", top, 0, kTopLogprobsMax);
  if (wanted) {
    request.top_logprobs = top;
  } else if (top > 0) {
    fields.fail_with(fail(ErrorCode::invalid_argument, "'top_logprobs' is {}, which needs \"logprobs\": true", top));
  }
}

void read_lengths(Fields& fields, GenerateOptions& options) {
  // The later names win: clients that send both mean the newer one.
  for (const std::string_view name : {"n_predict", "max_tokens", "max_completion_tokens"}) {
    fields.integer(name, options.max_tokens, -1, kTokensMax);
  }
}

Result<ChatRequest> read(const Json& body, const GenerateOptions& defaults) {
  ChatRequest request;
  request.generate = defaults;
  Fields fields(body);
  fields.text("model", request.model);
  read_messages(fields, request);
  read_tools(fields, request);
  fields.flag("stream", request.stream);
  Json stream_options;
  fields.object("stream_options", stream_options);
  if (stream_options.object() != nullptr) {
    Fields inner(stream_options, "stream_options.");
    inner.flag("include_usage", request.include_usage);
    if (auto done = inner.done(); !done.ok()) fields.fail_with(std::move(done).error());
  }
  fields.integer("n", request.choices, 1, kChoicesMax);
  read_lengths(fields, request.generate);
  read_stops(fields, request.generate.stop);
  read_logprobs(fields, request);
  fields.flag("cache_prompt", request.cache_prompt);
  fields.flag("timings_per_token", request.timings_per_token);
  fields.text("reasoning_effort", request.reasoning_effort);
  fields.object("chat_template_kwargs", request.template_variables);
  fields.object("response_format", request.response_format);
  read_sampling(fields, request.generate.sampling);
  MOXIE_TRY_VOID(fields.done());
  MOXIE_TRY_VOID(apply_response_format(request.response_format, request.generate.sampling));
  return request;
}

// ---- answers ----

std::string_view finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::length:
      return "length";
    case FinishReason::tool_calls:
      return "tool_calls";
    case FinishReason::stop:
    case FinishReason::stop_text:
      break;
  }
  return "stop";
}

Json logprobs_json(const std::vector<TokenLogprob>& logprobs) {
  Json content = array();
  for (const TokenLogprob& logprob : logprobs) push(content, openai_logprob(logprob));
  return object({{"content", std::move(content)}, {"refusal", nullptr}});
}

Json call_json(const ToolCall& call) {
  return object({{"id", call.id},
                 {"type", "function"},
                 {"function", object({{"name", call.name}, {"arguments", call.arguments}})}});
}

Json envelope(const AnswerIdentity& identity, std::string_view kind) {
  return object({{"id", "chatcmpl-" + identity.key},
                 {"object", kind},
                 {"created", identity.created},
                 {"model", identity.model},
                 {"system_fingerprint", "moxie"}});
}

Json answer(const ChatRequest& request, const AnswerIdentity& identity, const ChatAnswer& answer) {
  Json choices = array();
  for (size_t i = 0; i < answer.choices.size(); ++i) {
    const ChatChoice& choice = answer.choices[i];
    const bool silent = choice.text.empty() && !choice.calls.empty();
    Json message = object({{"role", "assistant"}, {"content", silent ? JsonPart(nullptr) : JsonPart(choice.text)}});
    if (!choice.reasoning.empty()) put(message, "reasoning_content", choice.reasoning);
    if (!choice.calls.empty()) {
      Json calls = array();
      for (const ToolCall& call : choice.calls) push(calls, call_json(call));
      put(message, "tool_calls", std::move(calls));
    }
    put(message, "refusal", nullptr);
    push(choices, object({{"index", i},
                          {"message", std::move(message)},
                          {"logprobs", request.top_logprobs >= 0 ? JsonPart(logprobs_json(choice.logprobs)) : nullptr},
                          {"finish_reason", finish_name(choice.finished.reason)}}));
  }
  Json made = envelope(identity, "chat.completion");
  put(made, "choices", std::move(choices));
  put(made, "usage", openai_usage(answer.usage));
  if (!answer.timings.is_null()) put(made, "timings", answer.timings);
  return made;
}

class Writer final : public ChatStreamWriter {
 public:
  Writer(const ChatRequest& request, AnswerIdentity identity)
      : choices_(request.choices),
        include_usage_(request.include_usage),
        logprobs_(request.top_logprobs >= 0),
        identity_(std::move(identity)) {}

  void begin(std::string& out) override {
    for (int i = 0; i < choices_; ++i) chunk(i, object({{"role", "assistant"}, {"content", ""}}), nullptr, {}, out);
  }

  void event(const ChatEvent& event, std::string& out) override {
    if (const auto* piece = std::get_if<AnswerEvent>(&event.what)) {
      if (auto delta = delta_of(*piece)) chunk(event.choice, *std::move(delta), nullptr, event.logprobs, out);
      return;
    }
    // The last chunk waits for the figures that may go with it.
    finished_.push_back({event.choice, std::get<FinishedChoice>(event.what).reason, event.logprobs});
  }

  void end(const ChatAnswer& answer, std::string& out) override {
    for (size_t i = 0; i < finished_.size(); ++i) {
      const bool last = i + 1 == finished_.size();
      Json made = chunk_json(finished_[i].choice, object(), finish_name(finished_[i].reason), finished_[i].logprobs);
      if (last && !include_usage_) put(made, "usage", openai_usage(answer.usage));
      if (last && !answer.timings.is_null()) put(made, "timings", answer.timings);
      append_event(out, made);
    }
    if (include_usage_) {
      Json made = envelope(identity_, "chat.completion.chunk");
      put(made, "choices", array());
      put(made, "usage", openai_usage(answer.usage));
      append_event(out, made);
    }
    out += "data: [DONE]\n\n";
  }

  void failure(const Error& error, std::string& out) override {
    append_event(out, error_body(http_status(error.code), error.message));
  }

 private:
  struct Finished {
    int choice;
    FinishReason reason;
    std::vector<TokenLogprob> logprobs;
  };

  static std::optional<Json> delta_of(const AnswerEvent& piece) {
    using Kind = AnswerEvent::Kind;
    const auto call = [&](Json function, bool first) {
      Json one = object({{"index", piece.call}});
      if (first) put(one, "id", piece.id);
      if (first) put(one, "type", "function");
      put(one, "function", std::move(function));
      return object({{"tool_calls", array({std::move(one)})}});
    };
    switch (piece.kind) {
      case Kind::text:
        return object({{"content", piece.text}});
      case Kind::reasoning:
        return object({{"reasoning_content", piece.text}});
      case Kind::call_begin:
        return call(object({{"name", piece.name}, {"arguments", ""}}), true);
      case Kind::call_arguments:
        return call(object({{"arguments", piece.text}}), false);
      case Kind::call_end:
        break;
    }
    return std::nullopt;
  }

  Json chunk_json(int choice, Json delta, JsonPart finish, const std::vector<TokenLogprob>& logprobs) const {
    Json one = object({{"index", choice}, {"delta", std::move(delta)}});
    put(one, "logprobs", logprobs_ && !logprobs.empty() ? JsonPart(logprobs_json(logprobs)) : nullptr);
    put(one, "finish_reason", std::move(finish));
    Json made = envelope(identity_, "chat.completion.chunk");
    put(made, "choices", array({std::move(one)}));
    if (include_usage_) put(made, "usage", nullptr);
    return made;
  }

  void chunk(int choice, Json delta, JsonPart finish, const std::vector<TokenLogprob>& logprobs,
             std::string& out) const {
    append_event(out, chunk_json(choice, std::move(delta), std::move(finish), logprobs));
  }

  int choices_;
  bool include_usage_, logprobs_;
  AnswerIdentity identity_;
  std::vector<Finished> finished_;
};

std::unique_ptr<ChatStreamWriter> stream(const ChatRequest& request, const AnswerIdentity& identity) {
  return std::make_unique<Writer>(request, identity);
}

Json error(const Error& error, int http_status, std::string_view) {
  return error_body(http_status, error.message);
}

Json alternative_json(const TokenAlternative& token) {
  Json bytes = array();
  for (const char byte : token.bytes) push(bytes, static_cast<int>(static_cast<unsigned char>(byte)));
  return object({{"token", to_valid_utf8(token.bytes)},
                 {"logprob", static_cast<double>(token.logprob)},
                 {"bytes", std::move(bytes)},
                 {"id", token.id}});
}

}  // namespace

Json openai_logprob(const TokenLogprob& logprob) {
  Json top = array();
  for (const TokenAlternative& each : logprob.top) push(top, alternative_json(each));
  Json made = alternative_json(logprob.token);
  put(made, "top_logprobs", std::move(top));
  return made;
}

Json openai_usage(const ChatUsage& usage) {
  return object({{"prompt_tokens", usage.prompt_tokens},
                 {"completion_tokens", usage.completion_tokens},
                 {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
                 {"prompt_tokens_details", object({{"cached_tokens", usage.cached_tokens}})},
                 {"completion_tokens_details", object({{"reasoning_tokens", usage.reasoning_tokens}})}});
}

Result<void> apply_response_format(const Json& format, SamplingOptions& sampling) {
  if (format.is_null()) return {};
  Fields fields(format, "response_format.");
  std::string type;
  fields.text("type", type);
  MOXIE_TRY_VOID(fields.done());
  if (type == "text") return {};
  if (type != "json_object" && type != "json_schema") {
    return fail(ErrorCode::invalid_argument,
                "'response_format.type' is {}; it must be text, json_object or json_schema", shown(Json{type}));
  }
  if (!sampling.grammar.empty() || !sampling.json_schema.empty() || !sampling.regex.empty()) {
    return fail(ErrorCode::invalid_argument,
                "'response_format' and a grammar, json_schema or regex are given; an answer can follow one of them");
  }
  // llama.cpp's clients put the schema beside the type.
  const Json* schema = fields.find("schema");
  if (type == "json_schema") {
    const Json* inner = fields.find("json_schema");
    if (inner != nullptr && inner->object() == nullptr) {
      return fail(ErrorCode::invalid_argument,
                  "'response_format.json_schema' is {}; it must be an object with \"schema\"", shown(*inner));
    }
    if (inner != nullptr) schema = inner->find("schema");
    if (schema == nullptr || schema->is_null()) {
      return fail(ErrorCode::invalid_argument, "'response_format.json_schema.schema' is missing");
    }
  }
  if (schema != nullptr && schema->object() == nullptr && schema->get_if<bool>() == nullptr) {
    return fail(ErrorCode::invalid_argument, "'response_format' has the schema {}; it must be a JSON schema",
                shown(*schema));
  }
  sampling.json_schema = schema != nullptr ? to_text(*schema) : R"({"type":"object"})";
  return {};
}

extern const ChatDialect openai_chat = {
    .name = "openai chat", .read = read, .answer = answer, .stream = stream, .error = error};

}  // namespace moxie::server

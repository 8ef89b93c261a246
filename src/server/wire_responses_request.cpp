#include "server/wire_responses_request.h"

#include <algorithm>

#include "core/fail.h"
#include "server/fields.h"
#include "server/json_build.h"

namespace moxie::server {
namespace {

constexpr int64_t kTokensMax = int64_t{1} << 40;

std::string_view text_of(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  return value != nullptr && value->text() != nullptr ? std::string_view(*value->text()) : std::string_view();
}

Error wrong(std::string_view where, const Json* value, std::string_view wanted) {
  return fail(ErrorCode::invalid_argument, "'{}' is {}; it must be {}", where,
              value == nullptr ? std::string("missing") : shown(*value), wanted);
}

// A content or output: a text, or parts of which all must be text.
Result<std::string> plain(const Json* content, const std::string& where) {
  if (content == nullptr || content->is_null()) return std::string();
  if (content->text() != nullptr) return *content->text();
  if (content->array() == nullptr) return wrong(where, content, "a text or a list of parts");
  std::string joined;
  for (size_t i = 0; i < content->array()->size(); ++i) {
    const Json& part = (*content->array())[i];
    const std::string_view type = text_of(part, "type");
    const Json* text = part.find(type == "refusal" ? "refusal" : "text");
    const bool is_text = type == "input_text" || type == "output_text" || type == "text" || type == "refusal" ||
                         type == "reasoning_text" || type == "summary_text";
    if (!is_text || text == nullptr || text->text() == nullptr) {
      return fail(ErrorCode::invalid_argument, "'{}[{}]' is {}; this model takes text alone", where, i, shown(part));
    }
    if (i > 0) joined += '\n';
    joined += *text->text();
  }
  return joined;
}

// Items become messages; what the assistant said, thought and called in a row is one message.
class ItemReader {
 public:
  Result<void> read(const Json& item, size_t index) {
    const std::string where = fmt::format("input[{}]", index);
    if (item.object() == nullptr) return wrong(where, &item, "an object");
    const std::string_view type = text_of(item, "type");
    if (type.empty() || type == "message") return message(item, where);
    if (type == "function_call" || type == "custom_tool_call") return call(item, type == "function_call", where);
    if (type == "function_call_output" || type == "custom_tool_call_output") return output(item, where);
    if (type == "reasoning") return reasoning(item, where);
    if (type == "item_reference") {
      return fail(ErrorCode::invalid_argument,
                  "'{}' refers to the item {}; this server keeps no items: send the item itself", where,
                  shown(item.find("id") != nullptr ? *item.find("id") : Json()));
    }
    // Calls of tools that run at OpenAI, and whatever comes next.
    return {};
  }

  Json::Array take() {
    flush();
    return std::move(made_);
  }

 private:
  Result<void> message(const Json& item, const std::string& where) {
    const std::string_view role = text_of(item, "role");
    if (role != "user" && role != "assistant" && role != "system" && role != "developer") {
      return wrong(where + ".role", item.find("role"), "user, assistant, system or developer");
    }
    MOXIE_TRY(const std::string text, plain(item.find("content"), where + ".content"));
    if (role != "assistant") {
      flush();
      made_.push_back(object({{"role", role == "developer" ? "system" : role}, {"content", text}}));
      return {};
    }
    // An answer ends where its calls were made: more text is a new message.
    if (!calls_.empty()) flush();
    open_ = true;
    if (!text_.empty() && !text.empty()) text_ += '\n';
    text_ += text;
    return {};
  }

  Result<void> call(const Json& item, bool is_function, const std::string& where) {
    if (text_of(item, "name").empty()) return wrong(where + ".name", item.find("name"), "the name of a function");
    std::string arguments(text_of(item, "arguments"));
    if (!is_function) arguments = to_text(object({{"input", text_of(item, "input")}}));
    open_ = true;
    calls_.push_back(
        object({{"id", text_of(item, "call_id")},
                {"type", "function"},
                {"function", object({{"name", text_of(item, "name")}, {"arguments", std::move(arguments)}})}}));
    return {};
  }

  Result<void> output(const Json& item, const std::string& where) {
    MOXIE_TRY(std::string text, plain(item.find("output"), where + ".output"));
    flush();
    made_.push_back(
        object({{"role", "tool"}, {"tool_call_id", text_of(item, "call_id")}, {"content", std::move(text)}}));
    return {};
  }

  Result<void> reasoning(const Json& item, const std::string& where) {
    MOXIE_TRY(std::string text, plain(item.find("content"), where + ".content"));
    if (text.empty()) {
      MOXIE_TRY(text, plain(item.find("summary"), where + ".summary"));
    }
    if (!calls_.empty() || !text_.empty()) flush();
    open_ = true;
    reasoning_ += text;
    return {};
  }

  void flush() {
    if (!open_) return;
    Json message = object({{"role", "assistant"}, {"content", text_}});
    if (!reasoning_.empty()) put(message, "reasoning_content", reasoning_);
    if (!calls_.empty()) put(message, "tool_calls", Json{std::move(calls_)});
    made_.push_back(std::move(message));
    text_.clear();
    reasoning_.clear();
    calls_ = {};
    open_ = false;
  }

  Json::Array made_, calls_;
  std::string text_, reasoning_;
  bool open_ = false;
};

Result<Json> read_input(const Json* input, const std::string& instructions) {
  Json messages = array();
  if (!instructions.empty()) push(messages, object({{"role", "system"}, {"content", instructions}}));
  if (input != nullptr && input->text() != nullptr) {
    push(messages, object({{"role", "user"}, {"content", *input->text()}}));
    return messages;
  }
  if (input == nullptr || input->array() == nullptr || input->array()->empty()) {
    return wrong("input", input, "a text or a list of at least one item");
  }
  ItemReader reader;
  for (size_t i = 0; i < input->array()->size(); ++i) MOXIE_TRY_VOID(reader.read((*input->array())[i], i));
  for (Json& message : reader.take()) push(messages, std::move(message));
  return messages;
}

// Flat functions into OpenAI's older shape. Tools of other types run at OpenAI, or are the client's own: they are left
// out.
Json read_tools(const Json& tools) {
  Json made = array();
  for (const Json& tool : *tools.array()) {
    if (text_of(tool, "type") != "function") continue;
    if (tool.find("function") != nullptr) {
      push(made, tool);
      continue;
    }
    Json function = object();
    for (const char* key : {"name", "description", "parameters", "strict"}) {
      if (const Json* value = tool.find(key); value != nullptr) put(function, key, *value);
    }
    push(made, object({{"type", "function"}, {"function", std::move(function)}}));
  }
  return made;
}

Result<void> read_tool_choice(const Json& choice, ChatRequest& request) {
  if (choice.text() == nullptr && choice.object() == nullptr) {
    return wrong("tool_choice", &choice, "none, auto, required or an object");
  }
  const std::string_view type = text_of(choice, "type");
  const bool known = choice.text() != nullptr || type == "function" || type == "allowed_tools";
  request.tool_choice = known ? choice : Json{std::string("auto")};  // a tool that runs at OpenAI
  return {};
}

Result<void> read_format(const Json& text, ChatRequest& request) {
  const Json* format = text.find("format");
  if (format == nullptr || format->is_null()) return {};
  const std::string_view type = text_of(*format, "type");
  if (type == "text") return {};
  if (type == "json_object") {
    request.generate.sampling.json_schema = R"({"type":"object"})";
    return {};
  }
  const Json* schema = format->find("schema");
  if (type != "json_schema" || schema == nullptr || schema->object() == nullptr) {
    return wrong("text.format", format, "of type text, json_object, or json_schema with a schema");
  }
  request.generate.sampling.json_schema = to_text(*schema);
  return {};
}

Result<void> refuse_what_needs_a_store(const Json& body) {
  for (const char* name : {"previous_response_id", "conversation"}) {
    const Json* value = body.find(name);
    if (value == nullptr || value->is_null()) continue;
    return fail(ErrorCode::invalid_argument,
                "'{}' is {}; this server keeps no responses: send the whole conversation as input", name,
                shown(*value));
  }
  const Json* background = body.find("background");
  if (background != nullptr && background->get_if<bool>() != nullptr && *background->get_if<bool>()) {
    return fail(ErrorCode::invalid_argument, "'background' is true; this server keeps no responses: leave it out");
  }
  return {};
}

}  // namespace

Result<ChatRequest> read_responses_request(const Json& body, const GenerateOptions& defaults) {
  ChatRequest request;
  request.generate = defaults;
  Fields fields(body);
  std::string instructions;
  Json tools, text, reasoning, metadata;
  fields.text("model", request.model);
  fields.text("instructions", instructions);
  fields.flag("stream", request.stream);
  fields.integer("max_output_tokens", request.generate.max_tokens, 1, kTokensMax);
  fields.number("temperature", request.generate.sampling.temp, 0, 2);
  fields.number("top_p", request.generate.sampling.top_p, 0, 1);
  fields.flag("parallel_tool_calls", request.parallel_tool_calls);
  fields.array("tools", tools);
  fields.object("text", text);
  fields.object("reasoning", reasoning);
  fields.object("metadata", metadata);
  MOXIE_TRY_VOID(fields.done());
  MOXIE_TRY_VOID(refuse_what_needs_a_store(body));
  MOXIE_TRY(request.messages, read_input(fields.find("input"), instructions));
  if (!tools.is_null()) request.tools = read_tools(tools);
  if (const Json* choice = fields.find("tool_choice")) MOXIE_TRY_VOID(read_tool_choice(*choice, request));
  if (!text.is_null()) MOXIE_TRY_VOID(read_format(text, request));
  if (!reasoning.is_null()) {
    request.reasoning_effort = text_of(reasoning, "effort");
    if (request.reasoning_effort == "none") request.reasoning = false;
  }
  request.echo = object();
  for (const char* key :
       {"instructions", "tools", "tool_choice", "metadata", "temperature", "top_p", "text", "reasoning", "truncation",
        "max_output_tokens", "parallel_tool_calls", "user", "prompt_cache_key"}) {
    if (const Json* value = fields.find(key)) put(request.echo, key, *value);
  }
  return request;
}

}  // namespace moxie::server

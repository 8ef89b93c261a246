#include "server/wire_anthropic_request.h"

#include <algorithm>

#include "core/fail.h"
#include "server/fields.h"
#include "server/json_build.h"

namespace moxie::server {
namespace {

constexpr std::string_view kBillingLine = "x-anthropic-billing-header:";
constexpr int64_t kTokensMax = int64_t{1} << 40;
constexpr int64_t kTopKMax = 1 << 20;

std::string_view text_of(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  return value != nullptr && value->text() != nullptr ? std::string_view(*value->text()) : std::string_view();
}

Error wrong(std::string_view where, const Json* value, std::string_view wanted) {
  return fail(ErrorCode::invalid_argument, "'{}' is {}; it must be {}", where,
              value == nullptr ? std::string("missing") : shown(*value), wanted);
}

// Without the lines that change from request to request.
std::string without_volatile_lines(std::string_view text) {
  std::string kept;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const size_t whole = std::min(end + 1, text.size());
    if (!text.starts_with(kBillingLine)) kept += text.substr(0, whole);
    text.remove_prefix(whole);
  }
  return kept;
}

Result<std::string> read_system(const Json& system) {
  if (system.text() != nullptr) return without_volatile_lines(*system.text());
  if (system.array() == nullptr) return wrong("system", &system, "a text or a list of text blocks");
  std::string joined;
  for (size_t i = 0; i < system.array()->size(); ++i) {
    const Json& block = (*system.array())[i];
    const Json* text = block.find("text");
    if (text == nullptr || text->text() == nullptr) {
      return wrong(fmt::format("system[{}]", i), &block, "a text block");
    }
    const std::string kept = without_volatile_lines(*text->text());
    if (kept.empty()) continue;
    if (!joined.empty()) joined += '\n';
    joined += kept;
  }
  return joined;
}

// What a tool gave: text, or blocks of which text counts.
Result<std::string> read_tool_result(const Json& block, const std::string& where) {
  const Json* content = block.find("content");
  std::string text;
  if (const Json* is_error = block.find("is_error"); is_error != nullptr && is_error->get_if<bool>() != nullptr) {
    if (*is_error->get_if<bool>()) text = "Error: ";
  }
  if (content == nullptr || content->is_null()) return text;
  if (content->text() != nullptr) return text + *content->text();
  if (content->array() == nullptr) return wrong(where + ".content", content, "a text or a list of blocks");
  bool first = true;
  for (const Json& part : *content->array()) {
    if (!first) text += '\n';
    first = false;
    const std::string_view type = text_of(part, "type");
    if (type == "text") {
      text += text_of(part, "text");
    } else {
      text += fmt::format("[{}: this model reads text alone]", type.empty() ? "block" : type);
    }
  }
  return text;
}

// One message of the request becomes one or more: results of tools are messages of their own.
class MessageReader {
 public:
  Result<void> read(const Json& message, size_t index) {
    const std::string where = fmt::format("messages[{}]", index);
    if (message.object() == nullptr) return wrong(where, &message, "an object with role and content");
    role_ = text_of(message, "role");
    if (role_ != "user" && role_ != "assistant" && role_ != "system") {
      return wrong(where + ".role", message.find("role"), "user, assistant or system");
    }
    const Json* content = message.find("content");
    if (content != nullptr && content->text() != nullptr) {
      add(*content->text());
    } else if (content != nullptr && content->array() != nullptr) {
      for (size_t i = 0; i < content->array()->size(); ++i) {
        MOXIE_TRY_VOID(read_block((*content->array())[i], fmt::format("{}.content[{}]", where, i)));
      }
    } else {
      return wrong(where + ".content", content, "a text or a list of blocks");
    }
    flush(true);
    return {};
  }

  Json::Array take() { return std::move(made_); }

 private:
  Result<void> read_block(const Json& block, const std::string& where) {
    const std::string_view type = text_of(block, "type");
    if (type == "text") {
      const Json* text = block.find("text");
      if (text == nullptr || text->text() == nullptr) return wrong(where + ".text", text, "a text");
      add(*text->text());
    } else if (type == "tool_use") {
      const std::string_view name = text_of(block, "name");
      if (name.empty()) return wrong(where + ".name", block.find("name"), "the name of a tool");
      const Json* input = block.find("input");
      calls_.push_back(
          object({{"id", text_of(block, "id")},
                  {"type", "function"},
                  {"function", object({{"name", name}, {"arguments", input != nullptr ? to_text(*input) : "{}"}})}}));
    } else if (type == "tool_result") {
      MOXIE_TRY(std::string result, read_tool_result(block, where));
      flush(false);
      made_.push_back(
          object({{"role", "tool"}, {"tool_call_id", text_of(block, "tool_use_id")}, {"content", std::move(result)}}));
    } else if (type == "thinking") {
      reasoning_ += text_of(block, "thinking");
    } else if (type == "document") {
      return read_document(block, where);
    } else if (type == "image") {
      return fail(ErrorCode::invalid_argument, "'{}' is an image; this model takes text alone", where);
    } else if (type.empty()) {
      return wrong(where, &block, "a block with a type");
    }
    // redacted_thinking and what Anthropic's own tools leave behind mean nothing here.
    return {};
  }

  Result<void> read_document(const Json& block, const std::string& where) {
    const Json* source = block.find("source");
    if (source == nullptr || text_of(*source, "type") != "text") {
      return fail(ErrorCode::invalid_argument, "'{}' is a document without plain text; this model takes text alone",
                  where);
    }
    add(text_of(*source, "data"));
    return {};
  }

  void add(std::string_view text) {
    if (!text_.empty() && !text.empty()) text_ += '\n';
    text_ += text;
    any_ = true;
  }

  void flush(bool last) {
    const bool silent = text_.empty() && calls_.empty() && reasoning_.empty();
    if (!silent || (last && any_)) {
      Json message = object({{"role", role_}, {"content", text_}});
      if (!reasoning_.empty()) put(message, "reasoning_content", reasoning_);
      if (!calls_.empty()) put(message, "tool_calls", Json{std::move(calls_)});
      made_.push_back(std::move(message));
    }
    text_.clear();
    reasoning_.clear();
    calls_ = {};
    any_ = false;
  }

  Json::Array made_, calls_;
  std::string role_, text_, reasoning_;
  bool any_ = false;
};

Result<Json> read_tools(const Json& tools) {
  Json made = array();
  for (size_t i = 0; i < tools.array()->size(); ++i) {
    const Json& tool = (*tools.array())[i];
    const std::string where = fmt::format("tools[{}]", i);
    if (tool.object() == nullptr) return wrong(where, &tool, "an object");
    const std::string_view type = text_of(tool, "type");
    if (!type.empty() && type != "custom") continue;  // Anthropic's own, run on their side
    if (text_of(tool, "name").empty()) return wrong(where + ".name", tool.find("name"), "a text");
    Json function = object({{"name", text_of(tool, "name")}, {"description", text_of(tool, "description")}});
    if (const Json* schema = tool.find("input_schema"); schema != nullptr) put(function, "parameters", *schema);
    if (const Json* strict = tool.find("strict"); strict != nullptr) put(function, "strict", *strict);
    push(made, object({{"type", "function"}, {"function", std::move(function)}}));
  }
  return made;
}

Result<void> read_tool_choice(const Json& choice, ChatRequest& request) {
  const std::string_view type = text_of(choice, "type");
  if (type == "auto" || type == "none") {
    request.tool_choice = Json{std::string(type)};
  } else if (type == "any") {
    request.tool_choice = Json{std::string("required")};
  } else if (type == "tool") {
    request.tool_choice = object({{"type", "function"}, {"function", object({{"name", text_of(choice, "name")}})}});
  } else {
    return wrong("tool_choice.type", choice.find("type"), "auto, any, tool or none");
  }
  Fields fields(choice, "tool_choice.");
  bool one_at_most = false;
  fields.flag("disable_parallel_tool_use", one_at_most);
  if (one_at_most) request.parallel_tool_calls = false;
  return fields.done();
}

Result<void> read_output(const Json& config, ChatRequest& request) {
  Fields fields(config, "output_config.");
  Json format;
  fields.text("effort", request.reasoning_effort);
  fields.object("format", format);
  MOXIE_TRY_VOID(fields.done());
  if (format.is_null()) return {};
  const Json* schema = format.find("schema");
  if (text_of(format, "type") != "json_schema" || schema == nullptr) {
    return wrong("output_config.format", &format, "an object of type json_schema with a schema");
  }
  request.generate.sampling.json_schema = to_text(*schema);
  return {};
}

}  // namespace

Result<ChatRequest> read_anthropic_request(const Json& body, const GenerateOptions& defaults, bool needs_max_tokens) {
  ChatRequest request;
  request.generate = defaults;
  Fields fields(body);
  fields.text("model", request.model);
  fields.flag("stream", request.stream);
  fields.integer("max_tokens", request.generate.max_tokens, 1, kTokensMax);
  fields.number("temperature", request.generate.sampling.temp, 0, 2);
  fields.number("top_p", request.generate.sampling.top_p, 0, 1);
  fields.integer("top_k", request.generate.sampling.top_k, 0, kTopKMax);
  fields.texts("stop_sequences", request.generate.stop);
  Json messages, tools, tool_choice, thinking, output;
  fields.array("messages", messages);
  fields.array("tools", tools);
  fields.object("tool_choice", tool_choice);
  fields.object("thinking", thinking);
  fields.object("output_config", output);
  MOXIE_TRY_VOID(fields.done());
  if (needs_max_tokens && fields.find("max_tokens") == nullptr) {
    return fail(ErrorCode::invalid_argument, "'max_tokens' is missing; give the most tokens that the answer may have");
  }
  if (messages.is_null() || messages.array()->empty()) {
    return wrong("messages", fields.find("messages"), "a list of at least one message");
  }
  MessageReader reader;
  Json all = array();
  if (const Json* system = fields.find("system"); system != nullptr) {
    MOXIE_TRY(std::string text, read_system(*system));
    if (!text.empty()) push(all, object({{"role", "system"}, {"content", std::move(text)}}));
  }
  for (size_t i = 0; i < messages.array()->size(); ++i) MOXIE_TRY_VOID(reader.read((*messages.array())[i], i));
  for (Json& message : reader.take()) push(all, std::move(message));
  request.messages = std::move(all);
  if (!tools.is_null()) {
    MOXIE_TRY(request.tools, read_tools(tools));
  }
  if (!tool_choice.is_null()) MOXIE_TRY_VOID(read_tool_choice(tool_choice, request));
  if (!thinking.is_null()) request.reasoning = text_of(thinking, "type") != "disabled";
  if (!output.is_null()) MOXIE_TRY_VOID(read_output(output, request));
  return request;
}

}  // namespace moxie::server

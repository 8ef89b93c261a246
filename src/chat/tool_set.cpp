#include "chat/tool_set.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include "core/fail.h"
#include "core/printable.h"
#include "core/xxh64.h"

namespace moxie {
namespace {

Json empty_schema() {
  return Json{Json::Object{{"type", Json{std::string("object")}}, {"properties", Json{Json::Object{}}}}};
}

std::string text_or_empty(const Json* json) {
  return json && json->text() ? *json->text() : std::string();
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string_view type_of(const Json& value) {
  if (value.is_null()) return "null";
  if (value.get_if<bool>()) return "boolean";
  if (value.text()) return "string";
  if (value.array()) return "array";
  if (value.object()) return "object";
  return value.integer() ? "integer" : "number";
}

// Some clients name types as Python does.
std::string json_type(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kPython[] = {
      {"str", "string"},  {"int", "integer"}, {"float", "number"}, {"bool", "boolean"},
      {"dict", "object"}, {"list", "array"},  {"tuple", "array"},
  };
  for (const auto& [from, to] : kPython) {
    if (name == from) return std::string(to);
  }
  return std::string(name);
}

// The types a schema allows; empty: it does not say. Deeper than a few alternatives nothing is looked at.
std::set<std::string, std::less<>> types_of(const Json& schema, int depth = 0) {
  std::set<std::string, std::less<>> types;
  if (depth > 4) return types;
  if (const Json* type = schema.find("type")) {
    if (type->text()) types.insert(json_type(*type->text()));
    if (type->array()) {
      for (const Json& one : *type->array()) {
        if (one.text()) types.insert(json_type(*one.text()));
      }
    }
  }
  if (!types.empty()) return types;
  if (const Json* values = schema.find("enum"); values && values->array()) {
    for (const Json& one : *values->array()) types.emplace(type_of(one));
    return types;
  }
  if (const Json* value = schema.find("const")) return {std::string(type_of(*value))};
  for (const char* key : {"anyOf", "oneOf"}) {
    const Json* alternatives = schema.find(key);
    if (!alternatives || !alternatives->array()) continue;
    for (const Json& one : *alternatives->array()) {
      const auto inner = types_of(one, depth + 1);
      if (inner.empty()) return {};
      types.insert(inner.begin(), inner.end());
    }
  }
  return types;
}

bool fits(const Json& value, const std::set<std::string, std::less<>>& types) {
  const std::string_view type = type_of(value);
  return types.count(type) != 0 || (type == "integer" && types.count("number") != 0);
}

std::optional<Json> json_value(std::string_view text) {
  if (text == "True") return Json{true};  // a model that learned Python
  if (text == "False") return Json{false};
  if (text == "None") return Json{};
  auto parsed = parse_json(text, "value");
  if (!parsed.ok()) return std::nullopt;
  return *std::move(parsed);
}

}  // namespace

Result<ToolSet> ToolSet::read(const Json& tools) {
  ToolSet set;
  if (tools.is_null()) return set;
  if (!tools.array()) return fail(ErrorCode::invalid_argument, "tools is no list; give a list of functions");
  for (size_t i = 0; i < tools.array()->size(); ++i) {
    const Json& entry = (*tools.array())[i];
    if (!entry.object()) return fail(ErrorCode::invalid_argument, "tools[{}] is no object", i);
    const Json* type = entry.find("type");
    if (type && type->text() && *type->text() != "function") continue;
    const Json* function = entry.find("function");
    if (!function) function = &entry;  // some clients leave the wrapping out
    const Json* name = function->find("name");
    if (!name || !name->text() || name->text()->empty()) {
      return fail(ErrorCode::invalid_argument, "tools[{}].function.name is missing or no text", i);
    }
    if (set.find(*name->text())) {
      return fail(ErrorCode::invalid_argument, "tools[{}].function.name '{}' is the name of an earlier tool, too", i,
                  printable(*name->text()));
    }
    Tool tool;
    tool.name = *name->text();
    tool.description = text_or_empty(function->find("description"));
    const Json* parameters = function->find("parameters");
    if (parameters && !parameters->is_null() && !parameters->object()) {
      return fail(ErrorCode::invalid_argument, "tools[{}].function.parameters is no JSON schema: it is no object", i);
    }
    const bool has_schema = parameters && parameters->object() && !parameters->object()->empty();
    tool.parameters = has_schema ? *parameters : empty_schema();
    const Json* strict = function->find("strict");
    tool.strict = strict && strict->get_if<bool>() && *strict->get_if<bool>();
    set.tools_.push_back(std::move(tool));
  }
  return set;
}

const Tool* ToolSet::find(std::string_view name) const {
  const auto found = std::find_if(tools_.begin(), tools_.end(), [&](const Tool& tool) { return tool.name == name; });
  return found == tools_.end() ? nullptr : &*found;
}

ToolSet ToolSet::only(std::string_view name) const {
  ToolSet set;
  if (const Tool* tool = find(name)) set.tools_.push_back(*tool);
  return set;
}

Json ToolSet::to_json() const {
  Json::Array all;
  for (const Tool& tool : tools_) {
    Json function{Json::Object{
        {"name", Json{tool.name}}, {"description", Json{tool.description}}, {"parameters", tool.parameters}}};
    all.push_back(Json{Json::Object{{"type", Json{std::string("function")}}, {"function", std::move(function)}}});
  }
  return Json{std::move(all)};
}

Json typed_value(const Tool* tool, std::string_view parameter, std::string_view text) {
  const Json* properties = tool ? tool->parameters.find("properties") : nullptr;
  const Json* schema = properties ? properties->find(parameter) : nullptr;
  const auto types = schema ? types_of(*schema) : std::set<std::string, std::less<>>{};
  if (types.size() == 1 && types.count("string") != 0) return Json{std::string(text)};
  auto value = json_value(trimmed(text));
  if (!value) return Json{std::string(text)};
  // Nothing says what it is: a quoted text would lose its quotes, so only what cannot be a plain text is taken.
  if (types.empty()) return value->text() ? Json{std::string(text)} : *std::move(value);
  return fits(*value, types) && !value->text() ? *std::move(value) : Json{std::string(text)};
}

std::optional<std::string> arguments_of_text(std::string_view text) {
  text = trimmed(text);
  if (text.empty()) return "{}";
  const auto parsed = parse_json(text, "arguments");
  if (!parsed.ok() || !parsed->object()) return std::nullopt;
  return to_text(*parsed);
}

std::optional<CalledTool> call_of_json(const Json& json) {
  const Json* function = json.find("function");
  const Json& from = function && function->object() ? *function : json;
  const Json* name = from.find("name");
  if (!name && function && function->text()) name = function;
  if (!name) name = from.find("tool_name");
  if (!name || !name->text() || name->text()->empty()) return std::nullopt;
  CalledTool call;
  call.name = *name->text();
  for (const char* key : {"id", "call_id", "tool_call_id"}) {
    if (const Json* id = json.find(key); id && id->text()) call.id = *id->text();
  }
  call.arguments = "{}";
  for (const char* key : {"arguments", "parameters"}) {
    const Json* arguments = from.find(key);
    if (!arguments || arguments->is_null()) continue;
    if (arguments->object()) {
      call.arguments = to_text(*arguments);
      return call;
    }
    const auto held = arguments->text() ? arguments_of_text(*arguments->text()) : std::nullopt;
    if (!held) return std::nullopt;
    call.arguments = *held;
    return call;
  }
  return call;
}

bool is_mistral_call_id(std::string_view id) {
  return id.size() == 9 && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
         });
}

std::string made_call_id(uint64_t seed, size_t index, size_t length) {
  constexpr std::string_view kAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id;
  for (uint64_t round = 0; id.size() < length; ++round) {
    const std::array<uint64_t, 3> from = {seed, index, round};
    uint64_t bits = xxh64(std::as_bytes(std::span(from)));
    for (int i = 0; i < 9 && id.size() < length; ++i, bits /= kAlphabet.size())
      id += kAlphabet[bits % kAlphabet.size()];
  }
  return id;
}

}  // namespace moxie

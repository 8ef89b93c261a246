#include "chat/tool_frame.h"

#include <algorithm>

namespace moxie::frame {
namespace {

Json node(std::string_view key, Json value) {
  return Json{Json::Object{{std::string(key), std::move(value)}}};
}

// A value without quotes where the schema says text.
Json plain_value(const Json& schema, std::string_view end, bool& is_text) {
  const Json* type = schema.find("type");
  const Json* values = schema.find("enum");
  is_text = type && type->text() && *type->text() == "string";
  if (!is_text) return frame::schema(schema);
  if (!values || !values->array() || values->array()->empty()) return free_text(end);
  std::vector<Json> texts;
  for (const Json& value : *values->array()) {
    if (value.text()) texts.push_back(text(*value.text()));
  }
  return texts.empty() ? free_text(end) : choice(std::move(texts));
}

}  // namespace

Json text(std::string_view text) {
  return Json{std::string(text)};
}

Json token(std::string_view of) {
  return node("token", text(of));
}

Json schema(const Json& schema) {
  return node("schema", schema);
}

Json regex(std::string_view pattern) {
  return node("regex", text(pattern));
}

Json free_text(std::string_view mark) {
  return node("free", text(mark));
}

Json rule(std::string_view name) {
  return node("rule", text(name));
}

Json sequence(std::vector<Json> parts) {
  return node("sequence", Json{std::move(parts)});
}

Json choice(std::vector<Json> parts) {
  return node("choice", Json{std::move(parts)});
}

Json optional(Json part) {
  return Json{Json::Object{{"repeat", std::move(part)}, {"min", Json{int64_t{0}}}, {"max", Json{int64_t{1}}}}};
}

Json in_a_row(Json one, Json separator, bool many) {
  if (!many) return one;
  Json more = node("repeat", sequence({std::move(separator), one}));
  return sequence({std::move(one), std::move(more)});
}

Json with_call(Json call, Json root) {
  return Json{Json::Object{{"rules", node("call", std::move(call))}, {"root", std::move(root)}}};
}

Json each_tool(const ToolSet& tools, const std::function<Json(const Tool&)>& call) {
  std::vector<Json> calls;
  for (const Tool& tool : tools.tools()) calls.push_back(call(tool));
  return choice(std::move(calls));
}

Json json_call(const Tool& tool, std::string_view arguments_key) {
  const std::string name = to_text(Json{tool.name});
  return sequence(
      {text("{\"name\": " + name + ", \"" + std::string(arguments_key) + "\": "), schema(tool.parameters), text("}")});
}

Json parameters(const Tool& tool, const std::function<ParameterFrame(const std::string& name, bool is_text)>& frame) {
  std::vector<Json> parts;
  const Json* properties = tool.parameters.find("properties");
  const Json* required = tool.parameters.find("required");
  const auto is_required = [&](const std::string& name) {
    return required && required->array() &&
           std::any_of(required->array()->begin(), required->array()->end(),
                       [&](const Json& one) { return one.text() && *one.text() == name; });
  };
  if (properties && properties->object()) {
    for (const auto& [name, of] : *properties->object()) {
      bool is_text = false;
      plain_value(of, "x", is_text);
      const ParameterFrame around = frame(name, is_text);
      std::vector<Json> one = around.before;
      one.push_back(plain_value(of, around.end, is_text));
      one.insert(one.end(), around.behind.begin(), around.behind.end());
      Json whole = sequence(std::move(one));
      parts.push_back(is_required(name) ? std::move(whole) : optional(std::move(whole)));
    }
  }
  if (parts.empty()) return text("");
  return sequence(std::move(parts));
}

}  // namespace moxie::frame

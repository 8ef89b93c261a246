// The form of calls as a structure (grammar/structure.h) that sampling can be held to: nodes, and what formats share.
// Pure functions.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/tool_set.h"
#include "core/json.h"

namespace moxie::frame {

Json text(std::string_view text);
Json token(std::string_view text);  // a control token, or its text
Json schema(const Json& schema);
Json regex(std::string_view pattern);
Json free_text(std::string_view mark);  // up to the mark
Json rule(std::string_view name);
Json sequence(std::vector<Json> parts);
Json choice(std::vector<Json> parts);
Json optional(Json part);
// One, or with `many` any number, with the separator between.
Json in_a_row(Json one, Json separator, bool many);
// {"rules": {"call": ...}, "root": ...}: the call may stand in the root several times, as rule("call").
Json with_call(Json call, Json root);
// One of the tools.
Json each_tool(const ToolSet& tools, const std::function<Json(const Tool&)>& call);
// {"name": "NAME", "arguments": {...}}
Json json_call(const Tool& tool, std::string_view arguments_key);

// The parameters of a tool in formats that write texts as they are: before and behind the value, and the mark that ends
// it.
struct ParameterFrame {
  std::vector<Json> before, behind;
  std::string_view end;
};
Json parameters(const Tool& tool, const std::function<ParameterFrame(const std::string& name, bool is_text)>& frame);

}  // namespace moxie::frame

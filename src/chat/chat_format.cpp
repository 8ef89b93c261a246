#include "chat/chat_format.h"

#include <algorithm>

#include "core/fail.h"
#include "core/printable.h"

namespace moxie {
namespace {

// What a model without a format of its own is told.
std::string description_of(const ToolSet& tools, bool parallel) {
  std::string text = "You can call tools. These are the tools, each with a JSON schema of its arguments:\n";
  for (const Tool& tool : tools.tools()) {
    const Json described{Json::Object{
        {"name", Json{tool.name}}, {"description", Json{tool.description}}, {"parameters", tool.parameters}}};
    text += to_text(described) + "\n";
  }
  text +=
      "To call a tool, answer with nothing but a JSON object of this form:\n"
      "{\"tool_call\": {\"name\": \"the tool's name\", \"arguments\": {\"argument\": \"value\"}}}\n";
  if (parallel) text += "Several calls at once: {\"tool_calls\": [{\"name\": ..., \"arguments\": ...}, ...]}\n";
  text += "The next message brings the result. Where no tool helps, answer in plain text.";
  return text;
}

Json with_system(const Json& messages, const std::string& text) {
  Json::Array made = messages.array() ? *messages.array() : Json::Array{};
  const Json* role = made.empty() ? nullptr : made[0].find("role");
  const Json* content = made.empty() ? nullptr : made[0].find("content");
  if (role && role->text() && *role->text() == "system" && content && content->text()) {
    const std::string joined = *content->text() + "\n\n" + text;
    made[0] = Json{Json::Object{{"role", *role}, {"content", Json{joined}}}};
  } else {
    made.insert(made.begin(), Json{Json::Object{{"role", Json{std::string("system")}}, {"content", Json{text}}}});
  }
  return Json{std::move(made)};
}

// The tools of the request whose names are in the list, which is OpenAI's "allowed_tools".
Result<Json> allowed_of(const Json& tools, const Json& choice) {
  const Json* inner = choice.find("allowed_tools");
  const Json* list = (inner && inner->object() ? *inner : choice).find("tools");
  if (!list || !list->array()) {
    return fail(ErrorCode::invalid_argument, "'tool_choice.allowed_tools.tools' is missing; give a list of tools");
  }
  Json::Array kept;
  for (const Json& tool : tools.array() ? *tools.array() : Json::Array{}) {
    const Json* function = tool.find("function");
    const Json* name = (function ? *function : tool).find("name");
    const bool allowed = name && std::any_of(list->array()->begin(), list->array()->end(), [&](const Json& one) {
                           const Json* of = one.find("function");
                           const Json* wanted = (of ? *of : one).find("name");
                           return wanted && wanted->text() && name->text() && *wanted->text() == *name->text();
                         });
    if (allowed) kept.push_back(tool);
  }
  return Json{std::move(kept)};
}

Error no_such_tool(std::string_view name, const ToolSet& tools) {
  std::vector<std::string_view> names;
  for (const Tool& tool : tools.tools()) names.push_back(tool.name);
  return fail(ErrorCode::invalid_argument, "'tool_choice' names the tool '{}', which is not among the tools ({})",
              printable(name), fmt::join(names, ", "));
}

}  // namespace

ChatFormat ChatFormat::probe(std::string_view template_text, const RenderChat& render) {
  ChatFormat made;
  made.format_ = AnswerFormat::of_template(template_text);
  made.style_ = probe_history(render);
  // A template that names a format's marks but never shows the tools leaves their description to us.
  if (!made.style_.shows_tools && !made.format_.calls->channels) {
    made.format_.calls = find_tool_format("generic");
    made.style_.takes_calls = made.style_.takes_results = false;
  }
  if (made.format_.calls->described) made.style_.takes_calls = made.style_.takes_results = false;
  if (made.format_.calls->ids == CallIds::mistral) made.style_.ids = CallIds::mistral;
  made.style_.keeps_thinking = made.format_.calls->channels;
  return made;
}

Result<ChatPlan> ChatFormat::plan(const ChatWish& wish) const {
  ChatPlan plan;
  plan.parallel = wish.parallel_tool_calls.value_or(true);
  MOXIE_TRY(const ToolSet offered, ToolSet::read(wish.tools));
  plan.tools = offered;
  std::string_view choice = "auto";
  if (const auto* word = wish.tool_choice.text()) choice = *word;
  std::string named;
  if (wish.tool_choice.object()) {
    const Json* type = wish.tool_choice.find("type");
    if (type && type->text() && *type->text() == "allowed_tools") {
      MOXIE_TRY(const Json allowed, allowed_of(wish.tools, wish.tool_choice));
      MOXIE_TRY(plan.tools, ToolSet::read(allowed));
      const Json* inner = wish.tool_choice.find("allowed_tools");
      const Json* mode = (inner && inner->object() ? *inner : wish.tool_choice).find("mode");
      if (mode && mode->text()) choice = *mode->text();
    } else {
      const Json* function = wish.tool_choice.find("function");
      const Json* name = (function && function->object() ? *function : wish.tool_choice).find("name");
      if (!name || !name->text()) {
        return fail(ErrorCode::invalid_argument,
                    "'tool_choice' is an object without a function's name; give {{\"type\": \"function\", "
                    "\"function\": {{\"name\": ...}}}}");
      }
      named = *name->text();
      choice = "required";
    }
  }
  if (choice != "none" && choice != "auto" && choice != "required") {
    return fail(ErrorCode::invalid_argument,
                "'tool_choice' is '{}'; it must be \"none\", \"auto\", \"required\" or an object that names a function",
                printable(choice));
  }
  if (choice == "required") {
    if (plan.tools.empty())
      return fail(ErrorCode::invalid_argument, "'tool_choice' wants a call, but there are no 'tools'");
    if (!named.empty() && !plan.tools.find(named)) return no_such_tool(named, plan.tools);
    plan.choice = ChatPlan::Choice::required;
  }
  plan.earlier_calls = count_calls(wish.messages);
  plan.input.extra = wish.extra;
  plan.input.messages = normalised_messages(wish.messages, style_);
  if (choice == "none") plan.tools = {};
  // The prompt shows all tools whatever the choice is, so that it stays the same from turn to turn.
  if (!offered.empty() && choice != "none") {
    if (calls().described) {
      plan.input.messages = with_system(plan.input.messages, description_of(offered, plan.parallel));
    } else {
      plan.input.tools = offered.to_json();
    }
  }
  if (!named.empty()) plan.tools = plan.tools.only(named);
  return plan;
}

AnswerParserOptions ChatFormat::parser(const ChatPlan& plan, std::string_view prompt, uint64_t id_seed) const {
  AnswerParserOptions options;
  options.format = format_;
  options.tools = plan.tools;
  options.starts_in_reasoning = prompt_opens_reasoning(prompt, format_.reasoning);
  options.parallel = plan.parallel;
  options.id_seed = id_seed;
  options.earlier_calls = plan.earlier_calls;
  return options;
}

}  // namespace moxie

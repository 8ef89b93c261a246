#include "chat/chat_format.h"

#include <algorithm>

#include "chat/tool_frame.h"
#include "core/fail.h"
#include "core/printable.h"
#include "grammar/json_schema.h"

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

// gpt-oss: reasoning in its channel, then the answer in its own.
Json in_final_channel(Json answer) {
  Json reasoning = frame::sequence({frame::token("<|channel|>"), frame::text("analysis"), frame::token("<|message|>"),
                                    frame::free_text("<|end|>"), frame::token("<|end|>"), frame::token("<|start|>"),
                                    frame::text("assistant")});
  return frame::sequence({frame::optional(std::move(reasoning)), frame::token("<|channel|>"), frame::text("final"),
                          frame::token("<|message|>"), std::move(answer)});
}

// Arguments that the schema does not list are a model's mistake, unless it says that it takes them.
Json closed_schema(const Json& schema) {
  for (const char* key : {"additionalProperties", "patternProperties", "unevaluatedProperties", "allOf", "anyOf",
                          "oneOf", "$ref", "if"}) {
    if (schema.find(key)) return schema;
  }
  Json closed = schema;
  std::get<Json::Object>(closed.value).push_back({"additionalProperties", Json{false}});
  return closed;
}

// The tools with schemas that a grammar can say. What it cannot say of a tool that is not strict is left to the model.
Result<ToolSet> with_grammars(const ToolSet& tools) {
  ToolSet made;
  for (Tool tool : tools.tools()) {
    tool.parameters = closed_schema(tool.parameters);
    const auto grammar = grammar::parse_json_schema(to_text(tool.parameters));
    if (!grammar.ok() && tool.strict) {
      return fail(ErrorCode::invalid_argument, "the tool '{}' is strict, but its parameters cannot be enforced: {}",
                  printable(tool.name), grammar.error().message);
    }
    if (!grammar.ok()) tool.parameters = Json{Json::Object{{"type", Json{std::string("object")}}}};
    made.add(std::move(tool));
  }
  return made;
}

}  // namespace

ChatFormat ChatFormat::probe(std::string_view template_text, const RenderChat& render) {
  ChatFormat made;
  made.template_text_ = template_text;
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

Result<std::string> ChatFormat::structure(const ChatPlan& plan, std::string_view prompt,
                                          std::string_view json_schema) const {
  const bool required = plan.choice == ChatPlan::Choice::required;
  const auto& tools = plan.tools.tools();
  const bool strict = std::any_of(tools.begin(), tools.end(), [](const Tool& tool) { return tool.strict; });
  const bool has_mark = calls().marks[0].where == ToolMark::Where::anywhere && !calls().channels;
  const bool wants_calls =
      calls().frame && !tools.empty() && (required || (strict && has_mark) || !json_schema.empty());
  if (!wants_calls && json_schema.empty()) return std::string();
  const bool opened = prompt_opens_reasoning(prompt, format_.reasoning);
  if (!wants_calls && !format_.reasoning.any() && !calls().channels) return std::string();  // the schema alone does

  Json document{Json::Object{}};
  std::vector<Json> answers;
  if (wants_calls) {
    MOXIE_TRY(const ToolSet enforced, with_grammars(plan.tools));
    const Json frame = calls().frame(enforced, plan.parallel, template_text_);
    document = Json{Json::Object{{"rules", *frame.find("rules")}}};
    answers.push_back(*frame.find("root"));
  }
  if (!json_schema.empty() && !required) {
    MOXIE_TRY(const Json schema, parse_json(json_schema, "json_schema"));
    Json answer = frame::schema(schema);
    if (calls().channels) answer = in_final_channel(std::move(answer));
    answers.push_back(std::move(answer));
  } else if (!required) {
    // A call comes where its mark comes; up to there the text is free.
    Json call = frame::optional(std::move(answers.back()));
    answers.back() = frame::sequence({frame::free_text(calls().marks[0].text), std::move(call)});
  }
  Json root = frame::choice(std::move(answers));
  if (const ReasoningMarks& marks = format_.reasoning; marks.any()) {
    std::vector<Json> thought = {frame::free_text(marks.close), frame::token(marks.close), frame::regex("[ \\n]{0,2}")};
    if (!opened) thought.insert(thought.begin(), frame::token(marks.open));
    Json reasoning = frame::sequence(std::move(thought));
    root = frame::sequence({opened ? std::move(reasoning) : frame::optional(std::move(reasoning)), std::move(root)});
  }
  std::get<Json::Object>(document.value).push_back({"root", std::move(root)});
  return to_text(document);
}

}  // namespace moxie

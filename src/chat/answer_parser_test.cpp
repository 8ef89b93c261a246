#include "chat/answer_parser.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "chat/chat_template.h"
#include "chat/chat_testing.h"
#include "support/paths.h"

namespace moxie {
namespace {

constexpr std::string_view kTools = R"json([
  {"type":"function","function":{"name":"get_weather","description":"Weather","parameters":{"type":"object",
    "properties":{"city":{"type":"string"},"days":{"type":"integer"},"units":{"type":["string","null"]},
                  "tags":{"type":"array","items":{"type":"string"}},"exact":{"type":"boolean"}},
    "required":["city"]}}},
  {"type":"function","function":{"name":"now","description":null,"parameters":null}}])json";

ToolSet tools_of(const Json& tools) {
  auto read = ToolSet::read(tools);
  EXPECT_TRUE(read.ok());
  return read.ok() ? *std::move(read) : ToolSet();
}

AnswerParserOptions options_for(std::string_view format) {
  AnswerParserOptions options;
  options.format.calls = find_tool_format(format);
  EXPECT_NE(options.format.calls, nullptr) << format;
  options.tools = tools_of(json(kTools));
  return options;
}

// The events as one text, in which pieces of one kind that follow each other are joined.
std::string said(const std::vector<AnswerEvent>& events) {
  std::string out;
  bool open = false;
  AnswerEvent::Kind last = AnswerEvent::Kind::text;
  for (const AnswerEvent& event : events) {
    const bool goes_on = open && event.kind == last &&
                         (event.kind == AnswerEvent::Kind::text || event.kind == AnswerEvent::Kind::reasoning);
    if (open && !goes_on && (last == AnswerEvent::Kind::text || last == AnswerEvent::Kind::reasoning)) out += "] ";
    switch (event.kind) {
      case AnswerEvent::Kind::text:
        out += goes_on ? event.text : "text[" + event.text;
        break;
      case AnswerEvent::Kind::reasoning:
        out += goes_on ? event.text : "think[" + event.text;
        break;
      case AnswerEvent::Kind::call_begin:
        out += event.name + "(";
        break;
      case AnswerEvent::Kind::call_arguments:
        out += event.text;
        break;
      case AnswerEvent::Kind::call_end:
        out += ") ";
        break;
    }
    last = event.kind;
    open = true;
  }
  if (open && (last == AnswerEvent::Kind::text || last == AnswerEvent::Kind::reasoning)) out += "] ";
  if (!out.empty()) out.pop_back();
  return out;
}

std::vector<AnswerEvent> events_of(const AnswerParserOptions& options, const std::vector<std::string_view>& pieces,
                                   bool cut = false) {
  AnswerParser parser(options);
  std::vector<AnswerEvent> events;
  for (const std::string_view piece : pieces) parser.feed(piece, events);
  parser.finish(cut, events);
  return events;
}

// What the answer says, the same for every way to cut it.
std::string parsed(const AnswerParserOptions& options, std::string_view text, bool cut = false) {
  const std::string whole = said(events_of(options, {text}, cut));
  for (size_t at = 0; at <= text.size(); ++at) {
    EXPECT_EQ(said(events_of(options, {text.substr(0, at), text.substr(at)}, cut)), whole) << "cut at " << at;
  }
  std::vector<std::string_view> bytes;
  for (size_t at = 0; at < text.size(); ++at) bytes.push_back(text.substr(at, 1));
  EXPECT_EQ(said(events_of(options, bytes, cut)), whole) << "byte by byte";
  return whole;
}

std::string parsed(std::string_view format, std::string_view text) {
  return parsed(options_for(format), text);
}

struct AnswerCase {
  const char *format, *text, *expected;
};

TEST(AnswerParser, ReadsEveryFormat) {
  const AnswerCase cases[] = {
      {"mistral",
       R"([TOOL_CALLS] [{"name": "now", "arguments": {}}, {"name": "get_weather", "arguments": {"city": "a\"]"}}])",
       R"(now({}) get_weather({"city":"a\"]"}))"},
      {"mistral", R"(I look.[TOOL_CALLS][{"name":"now","arguments":"{\"x\": 1}","id":"abcdef123"}])",
       R"(text[I look.] now({"x":1}))"},
      {"mistral", R"([TOOL_CALLS]{"name":"now"})", "now({})"},
      {"mistral", R"([TOOL_CALLS]get_weather[ARGS]{"city":"x"})", R"(get_weather({"city":"x"}))"},
      {"mistral-args", R"([TOOL_CALLS]get_weather[ARGS]{"city": "[TOOL_CALLS]"}[TOOL_CALLS]now[ARGS]{})",
       R"(get_weather({"city":"[TOOL_CALLS]"}) now({}))"},
      {"mistral-args", R"([TOOL_CALLS]now[CALL_ID]abcdef123[ARGS]{})", "now({})"},
      {"mistral-args", R"([TOOL_CALLS][{"name":"now","arguments":{}}])", "now({})"},
      {"hermes",
       "Sure.\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n<tool_call>{\"name\":\"get_weather\","
       "\"arguments\":{\"city\":\"</tool_call>\"}}</tool_call>\n",
       R"(text[Sure.] now({}) get_weather({"city":"</tool_call>"}))"},
      {"hermes", "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"a\": [1, 2.5, null]}}",
       R"(now({"a":[1,2.5,null]}))"},
      {"hermes", "<tool_call>{\"name\":\"now\"} and so on", "now({}) text[ and so on]"},
      {"qwen3-coder",
       "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis </parameter> x\n</parameter>\n<parameter=days>\n3\n"
       "</parameter>\n<parameter=exact>\nTrue\n</parameter>\n</function>\n</tool_call>",
       R"(get_weather({"city":"Paris </parameter> x","days":3,"exact":true}))"},
      {"qwen3-coder",
       "A\n<tool_call>\n<function=get_weather>\n<parameter=city>\n12\n</parameter>\n<parameter=tags>\n[\"a\"]\n</parameter>"
       "\n<parameter=units>\nnull\n</parameter>\n</function>\n</tool_call>\n<tool_call><function=now></function></tool_call>",
       R"(text[A] get_weather({"city":"12","tags":["a"],"units":null}) now({}))"},
      {"qwen3-coder", "<function=now>\n</function>", "now({})"},
      {"llama-3", R"({"name": "get_weather", "parameters": {"city": "x"}})", R"(get_weather({"city":"x"}))"},
      {"llama-3", R"({"name": "now", "parameters": {}}; {"name": "now", "parameters": {}})", "now({}) now({})"},
      {"llama-3", R"(<|python_tag|>{"name": "now", "parameters": {}})", "now({})"},
      {"llama-3", R"(<|python_tag|>get_weather.call(city="it's", days=2, tags=['a', "b"], exact=True))",
       R"(get_weather({"city":"it's","days":2,"tags":["a","b"],"exact":true}))"},
      {"llama-3", R"([get_weather(city="Bonn"), now()])", R"(get_weather({"city":"Bonn"}) now({}))"},
      {"deepseek",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": "
       "\"x\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>"
       "<｜tool▁calls▁end｜>",
       R"(get_weather({"city":"x"}) now({}))"},
      {"deepseek",
       "Ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       "text[Ok] now({})"},
      {"deepseek-dsml",
       "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" "
       "string=\"true\">7</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" "
       "string=\"false\">7</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke "
       "name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
       R"(get_weather({"city":"7","days":7}) now({}))"},
      {"glm",
       "\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Köln</arg_value>\n<arg_key>days</arg_key>\n"
       "<arg_value>3</arg_value>\n</tool_call>",
       R"(get_weather({"city":"Köln","days":3}))"},
      {"glm", "<tool_call>now</tool_call>", "now({})"},
      {"kimi",
       "Hm<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": "
       "\"x\"}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
       "<|tool_calls_section_end|>",
       R"(text[Hm] get_weather({"city":"x"}) now({}))"},
      {"minimax",
       "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">a <b></parameter>\n<parameter "
       "name=\"days\">2</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
       R"(get_weather({"city":"a <b>","days":2}) now({}))"},
      {"gpt-oss",
       "<|channel|>analysis<|message|>Weather is wanted.<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.get_weather <|constrain|>json<|message|>{\"city\":\"x\"}<|call|>",
       R"(think[Weather is wanted.] get_weather({"city":"x"}))"},
      {"gpt-oss", " to=functions.now<|channel|>commentary json<|message|>{}", "now({})"},
      {"gpt-oss",
       "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>It is  warm.\n<|return|>",
       "text[I look.It is  warm.\n]"},
      {"generic", R"({"tool_call": {"name": "get_weather", "arguments": {"city": "x"}}})",
       R"(get_weather({"city":"x"}))"},
      {"generic", "\n```json\n{\"tool_calls\": [{\"name\": \"now\"}, {\"name\": \"now\", \"arguments\": {}}]}\n```\n",
       "now({}) now({})"},
      {"generic", R"({"response": "It is \"fine\"."})", R"(text[It is "fine".])"},
      {"generic", R"({"name": "now", "arguments": {}})", "now({})"},
  };
  for (const AnswerCase& one : cases) {
    SCOPED_TRACE(std::string(one.format) + ": " + one.text);
    EXPECT_EQ(parsed(one.format, one.text), one.expected);
  }
}

TEST(AnswerParser, WhatIsNoCallIsText) {
  const AnswerCase cases[] = {
      {"mistral", "[TOOL_CALLS] nothing here", "text[[TOOL_CALLS] nothing here]"},
      {"mistral", R"([TOOL_CALLS][{"name": "now", "argum)", R"(text[[TOOL_CALLS][{"name": "now", "argum])"},
      {"mistral", "[TOOL_CALLS]", "text[[TOOL_CALLS]]"},
      {"mistral", "a [TOOL_CALL", "text[a [TOOL_CALL]"},
      {"hermes", "<tool_call>{broken}</tool_call> <b>", "text[<tool_call>{broken}</tool_call> <b>]"},
      {"hermes", "<tool_call>[1]</tool_call>", "text[<tool_call>[1]</tool_call>]"},
      {"hermes", R"(<tool_call>{"arguments": {}}</tool_call>)", R"(text[<tool_call>{"arguments": {}}</tool_call>])"},
      {"qwen3-coder", "<tool_call>\n<function=now>\n<parameter=a>\n1",
       "text[<tool_call>\n<function=now>\n<parameter=a>\n1]"},
      {"llama-3", R"({"answer": 42})", R"(text[{"answer": 42}])"},
      {"llama-3", R"({"name": "nobody", "parameters": {}})", R"(text[{"name": "nobody", "parameters": {}}])"},
      {"llama-3", "Use {\"name\": \"now\", \"parameters\": {}}", "text[Use {\"name\": \"now\", \"parameters\": {}}]"},
      {"llama-3", "[1, 2] are numbers", "text[[1, 2] are numbers]"},
      {"llama-3", "[now(", "text[[now(]"},
      {"deepseek", "<｜tool▁calls▁begin｜>oh", "text[<｜tool▁calls▁begin｜>oh]"},
      {"deepseek-dsml", "<｜DSML｜function_calls>x", "text[<｜DSML｜function_calls>x]"},
      {"glm", "<tool_call>now<arg_key>a", "text[<tool_call>now<arg_key>a]"},
      {"glm", "<tool_call>{\"name\":\"now\"}</tool_call>", "text[<tool_call>{\"name\":\"now\"}</tool_call>]"},
      {"functionary", "<function=now>x</function>", "text[<function=now>x</function>]"},
      {"kimi", "<|tool_call_begin|>functions.now:0", "text[<|tool_call_begin|>functions.now:0]"},
      {"minimax", "<minimax:tool_call>\n</minimax:tool_call>", "text[<minimax:tool_call>\n</minimax:tool_call>]"},
      {"gpt-oss", "<|channel|>commentary to=functions.now<|message|>oops",
       "text[<|channel|>commentary to=functions.now<|message|>oops]"},
      {"generic", "```python\nprint(1)\n```", "text[```python\nprint(1)\n```]"},
      {"generic", "{\"a\": 1}\n", "text[{\"a\": 1}\n]"},
      {"generic", "  two  \n", "text[  two  \n]"},
  };
  for (const AnswerCase& one : cases) {
    SCOPED_TRACE(std::string(one.format) + ": " + one.text);
    EXPECT_EQ(parsed(one.format, one.text), one.expected);
  }
}

// A model that ends by itself may have left brackets out; one that was stopped has not said all.
TEST(AnswerParser, ClosesBracketsOnlyWhenTheModelEnded) {
  const std::string_view text = R"(<tool_call>{"name": "now", "arguments": {"a": 1})";
  EXPECT_EQ(parsed(options_for("hermes"), text), R"(now({"a":1}))");
  EXPECT_EQ(parsed(options_for("hermes"), text, true), "text[" + std::string(text) + "]");
}

TEST(AnswerParser, SplitsReasoningOff) {
  AnswerParserOptions options = options_for("hermes");
  options.format.reasoning = {"<think>", "</think>"};
  EXPECT_EQ(parsed(options, "<think>\nHm.\n\nWell.\n</think>\n\nYes.\n"), "think[Hm.\n\nWell.] text[Yes.\n]");
  EXPECT_EQ(parsed(options, "<think></think>Yes"), "text[Yes]");
  EXPECT_EQ(parsed(options, "<think>a <tool_call> b</think><tool_call>{\"name\":\"now\"}</tool_call>"),
            "think[a <tool_call> b] now({})");
  EXPECT_EQ(parsed(options, "<think>cut off\n"), "think[cut off]");
  EXPECT_EQ(parsed(options, "2 <thin 3"), "text[2 <thin 3]");
  options.starts_in_reasoning = true;
  EXPECT_EQ(parsed(options, "Hm.</think>Yes."), "think[Hm.] text[Yes.]");
  EXPECT_EQ(parsed(options, "<think>\nHm.</think>Yes."), "think[Hm.] text[Yes.]");
  options.tools = {};
  EXPECT_EQ(parsed(options, "x</think>\n<tool_call>{\"name\":\"now\"}</tool_call>"),
            "think[x] text[<tool_call>{\"name\":\"now\"}</tool_call>]");

  AnswerParserOptions kimi = options_for("kimi");
  kimi.format.reasoning = {"<think>", "</think>"};
  EXPECT_EQ(parsed(kimi,
                   "<think>So.<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_argument_"
                   "begin|>{}<|tool_call_end|><|tool_calls_section_end|>"),
            "think[So.] now({})");
}

TEST(AnswerParser, ChannelsCountWithoutTools) {
  AnswerParserOptions options = options_for("gpt-oss");
  options.tools = {};
  EXPECT_EQ(parsed(options, "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b"),
            "think[a] text[b]");
}

TEST(AnswerParser, IdsAreAsTemplatesWantThem) {
  const auto id_of = [](std::string_view format, std::string_view text) {
    for (const AnswerEvent& event : events_of(options_for(format), {text})) {
      if (event.kind == AnswerEvent::Kind::call_begin) return event.id;
    }
    return std::string();
  };
  EXPECT_EQ(id_of("mistral", R"([TOOL_CALLS][{"name":"now","id":"abcdef123"}])"), "abcdef123");
  EXPECT_EQ(id_of("mistral", R"([TOOL_CALLS][{"name":"now","id":"foreign-id"}])").size(), 9u);
  EXPECT_EQ(id_of("kimi", "<|tool_call_begin|>functions.now:7<|tool_call_argument_begin|>{}"), "functions.now:7");
  EXPECT_EQ(id_of("kimi", "<|tool_call_begin|>now<|tool_call_argument_begin|>{}"), "functions.now:0");
  const std::string plain = id_of("hermes", R"(<tool_call>{"name":"now"}</tool_call>)");
  EXPECT_EQ(plain.substr(0, 5), "call_");
  EXPECT_EQ(plain.size(), 29u);
}

TEST(AnswerParser, OneCallWhereOnlyOneIsWanted) {
  AnswerParserOptions options = options_for("hermes");
  options.parallel = false;
  EXPECT_EQ(parsed(options, R"(<tool_call>{"name":"now"}</tool_call><tool_call>{"name":"get_weather"}</tool_call>)"),
            "now({})");
}

TEST(ReasoningMarks, PromptMayOpenThem) {
  const ReasoningMarks marks = reasoning_marks_of("...{{ '<think>\\n' }}...</think>");
  EXPECT_EQ(marks.open, "<think>");
  EXPECT_TRUE(prompt_opens_reasoning("<|im_start|>assistant\n<think>\n", marks));
  EXPECT_FALSE(prompt_opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n", marks));
  EXPECT_FALSE(prompt_opens_reasoning("", marks));
  EXPECT_FALSE(reasoning_marks_of("plain").any());
}

TEST(ToolSet, ReadsWhatClientsSend) {
  const ToolSet set = tools_of(json(
      R"([{"type":"function","function":{"name":"a","description":null}},{"type":"web_search"},{"name":"b","parameters":{}}])"));
  ASSERT_EQ(set.tools().size(), 2u);
  EXPECT_EQ(
      to_text(set.to_json()),
      R"([{"type":"function","function":{"name":"a","description":"","parameters":{"type":"object","properties":{}}}},)"
      R"({"type":"function","function":{"name":"b","description":"","parameters":{"type":"object","properties":{}}}}])");
  for (const char* bad :
       {R"({"a":1})", "[3]", R"([{"type":"function","function":{}}])",
        R"([{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}])",
        R"([{"type":"function","function":{"name":"a","parameters":"x"}}])"}) {
    EXPECT_FALSE(ToolSet::read(json(bad)).ok()) << bad;
  }
}

// A call of a test case, in each format's own spelling. What stands here is written from the templates, not with the
// parser's code.
using Call = std::pair<std::string, Json::Object>;

std::string plain_value(const Json& value) {
  return value.text() ? *value.text() : to_text(value);
}

std::string json_call(const Call& call, const char* arguments) {
  return R"({"name": )" + to_text(Json{call.first}) + ", \"" + arguments + "\": " + to_text(Json{call.second}) + "}";
}

std::string spelled(std::string_view format, const std::vector<Call>& calls) {
  std::string out;
  if (format == "mistral") out = "[TOOL_CALLS][";
  if (format == "deepseek") out = "<｜tool▁calls▁begin｜>";
  if (format == "deepseek-dsml") out = "<｜DSML｜function_calls>\n";
  if (format == "kimi") out = "<|tool_calls_section_begin|>";
  if (format == "minimax") out = "<minimax:tool_call>\n";
  if (format == "generic") out = "{\"tool_calls\": [";
  for (size_t i = 0; i < calls.size(); ++i) {
    const auto& [name, arguments] = calls[i];
    const std::string object = to_text(Json{arguments});
    if (format == "mistral" || format == "generic") out += (i ? ", " : "") + json_call(calls[i], "arguments");
    if (format == "mistral-args") out += "[TOOL_CALLS]" + name + "[ARGS]" + object;
    if (format == "hermes") out += "<tool_call>\n" + json_call(calls[i], "arguments") + "\n</tool_call>\n";
    if (format == "llama-3") out += (i ? "; " : "") + json_call(calls[i], "parameters");
    if (format == "deepseek") {
      out += "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" + name + "\n```json\n" + object + "\n```<｜tool▁call▁end｜>";
    }
    if (format == "kimi") {
      out += "<|tool_call_begin|>functions." + name + ":" + std::to_string(i) + "<|tool_call_argument_begin|>" +
             object + "<|tool_call_end|>";
    }
    if (format == "gpt-oss") {
      out += (i ? "<|start|>assistant" : "") + std::string("<|channel|>commentary to=functions.") + name +
             " <|constrain|>json<|message|>" + object + "<|call|>";
    }
    if (format == "qwen3-coder") {
      out += "<tool_call>\n<function=" + name + ">\n";
      for (const auto& [key, value] : arguments)
        out += "<parameter=" + key + ">\n" + plain_value(value) + "\n</parameter>\n";
      out += "</function>\n</tool_call>";
    }
    if (format == "functionary") out += "<function=" + name + ">" + object + "</function>";
    if (format == "glm") {
      out += "\n<tool_call>" + name + "\n";
      for (const auto& [key, value] : arguments) {
        out += "<arg_key>" + key + "</arg_key>\n<arg_value>" + plain_value(value) + "</arg_value>\n";
      }
      out += "</tool_call>";
    }
    if (format == "minimax") {
      out += "<invoke name=\"" + name + "\">\n";
      for (const auto& [key, value] : arguments) {
        out += "<parameter name=\"" + key + "\">" + plain_value(value) + "</parameter>\n";
      }
      out += "</invoke>\n";
    }
    if (format == "deepseek-dsml") {
      out += "<｜DSML｜invoke name=\"" + name + "\">\n";
      for (const auto& [key, value] : arguments) {
        out += "<｜DSML｜parameter name=\"" + key + "\" string=\"" + (value.text() ? "true" : "false") + "\">" +
               plain_value(value) + "</｜DSML｜parameter>\n";
      }
      out += "</｜DSML｜invoke>\n";
    }
  }
  if (format == "mistral") out += "]";
  if (format == "deepseek") out += "<｜tool▁calls▁end｜>";
  if (format == "deepseek-dsml") out += "</｜DSML｜function_calls>";
  if (format == "kimi") out += "<|tool_calls_section_end|>";
  if (format == "minimax") out += "</minimax:tool_call>";
  if (format == "generic") out += "]}";
  return out;
}

// The accepted calls of a case, each argument with its first accepted value.
std::vector<Call> calls_of(const Json& ground_truth) {
  std::vector<Call> calls;
  for (const Json& call : *ground_truth.array()) {
    for (const auto& [name, arguments] : *call.object()) {
      Json::Object chosen;
      for (const auto& [key, values] : *arguments.object()) {
        if (values.array() == nullptr || values.array()->empty()) continue;
        const Json& first = (*values.array())[0];
        if (first.text() && first.text()->empty()) continue;
        // Inside a value that is an object, members are lists of accepted values again: as good a value as any.
        chosen.push_back({key, first});
      }
      calls.push_back({name, std::move(chosen)});
    }
  }
  return calls;
}

// Does the schema say text where the accepted value is none, or the other way round? Then a format without types cannot
// bring it back.
bool plain_values_are_clear(const ToolSet& tools, const std::vector<Call>& calls) {
  for (const auto& [name, arguments] : calls) {
    const Tool* tool = tools.find(name);
    for (const auto& [key, value] : arguments) {
      if (to_text(typed_value(tool, key, plain_value(value))) != to_text(value)) return false;
    }
  }
  return true;
}

struct CaseCount {
  size_t cases = 0, parsed = 0, unclear = 0;
};

void check_case(const Json& functions, const Json& ground_truth, const std::string& id, CaseCount& count) {
  const ToolSet tools = tools_of(functions);
  const std::vector<Call> calls = calls_of(ground_truth);
  const bool clear = plain_values_are_clear(tools, calls);
  ++count.cases;
  if (!clear) ++count.unclear;
  std::string expected;
  for (const auto& [name, arguments] : calls) expected += name + "(" + to_text(Json{arguments}) + ") ";
  expected.pop_back();
  std::mt19937 random(static_cast<unsigned>(count.cases));
  for (const ToolFormat* format : tool_formats()) {
    const bool untyped = format->name == "qwen3-coder" || format->name == "glm" || format->name == "minimax";
    if (untyped && !clear) continue;
    const std::string text = spelled(format->name, calls);
    AnswerParserOptions options;
    options.format.calls = format;
    options.tools = tools;
    std::vector<std::string_view> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + random() % 9;
      pieces.push_back(std::string_view(text).substr(at, length));
      at += length;
    }
    EXPECT_EQ(said(events_of(options, {text})), expected) << format->name << " " << id;
    EXPECT_EQ(said(events_of(options, pieces)), expected) << format->name << " " << id << " in pieces";
    // Half an answer is never half a call: all before it, or text.
    const std::string half = said(events_of(options, {text.substr(0, text.size() / 2)}, true));
    EXPECT_TRUE(half.find("text[") != std::string::npos || half.empty() || expected.starts_with(half))
        << format->name << " " << id << ": " << half;
    ++count.parsed;
  }
}

TEST(AnswerParser, ReadsCallsOfTheLeaderboard) {
  std::ifstream in(source_dir() + "/tests/data/tool-calls/bfcl.jsonl");
  ASSERT_TRUE(in.is_open());
  CaseCount count;
  for (std::string line; std::getline(in, line);) {
    const Json one = json(line);
    check_case(*one.find("function"), *one.find("ground_truth"), *one.find("id")->text(), count);
  }
  EXPECT_EQ(count.cases, 48u);
  EXPECT_LT(count.unclear, 10u);
}

TEST(AnswerParser, ReadsCallsOfTheWholeLeaderboard) {
  const char* data = std::getenv("MOXIE_TEST_DATA");
  if (!data) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  CaseCount count;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(data) / "tool-calls/bfcl")) {
    const std::string name = entry.path().string();
    if (!name.ends_with(".answers.json")) continue;
    std::map<std::string, Json> truths;
    std::ifstream answers(name), questions(name.substr(0, name.size() - 13) + ".json");
    for (std::string line; std::getline(answers, line);) {
      const Json one = json(line);
      truths[*one.find("id")->text()] = *one.find("ground_truth");
    }
    for (std::string line; std::getline(questions, line);) {
      const Json one = json(line);
      const std::string id = *one.find("id")->text();
      if (truths.count(id)) check_case(*one.find("function"), truths[id], id, count);
    }
  }
  std::cout << "  " << count.cases << " cases, " << count.parsed << " spellings, " << count.unclear
            << " cases left out of formats without types\n";
  EXPECT_GT(count.cases, 1000u);
}

// The templates themselves say how a call is written: what they render for an assistant's calls reads back.
TEST(AnswerParser, ReadsWhatTemplatesWrite) {
  const char* data = std::getenv("MOXIE_TEST_DATA");
  if (!data) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  std::tm now{};
  now.tm_year = 125;
  now.tm_mday = 4;
  size_t checked = 0;
  std::map<std::string_view, size_t> formats;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(data) / "chat-templates/templates")) {
    std::stringstream source;
    source << std::ifstream(entry.path()).rdbuf();
    const ToolFormat& format = tool_format_of(source.str());
    if (format.described) continue;
    auto chat = ChatTemplate::choose(
        {}, {.file_text = source.str(), .file = entry.path().filename(), .bos = "<s>", .eos = "</s>"});
    ASSERT_TRUE(chat.ok()) << entry.path() << ": " << chat.error().message;
    const std::string user = R"({"role":"user","content":"Weather?"})";
    const auto conversation = [&](std::string_view arguments) {
      return json("[" + user +
                  R"(,{"role":"assistant","content":"","tool_calls":[{"id":"abcdef123","type":"function","function":)" +
                  R"({"name":"get_weather","arguments":)" + std::string(arguments) + "}}]}]");
    };
    const Json tools = tools_of(json(kTools)).to_json();
    const auto prompt = chat->render({.messages = json("[" + user + "]"), .tools = tools}, now);
    if (!prompt.ok()) continue;  // it wants more variables
    AnswerParserOptions options;
    options.format = AnswerFormat::of_template(source.str());
    options.tools = tools_of(json(kTools));
    std::string answers;
    bool writes_calls = false, reads_back = false;
    // Some want the arguments as a text, and escape those of an object as in HTML, or the other way round.
    for (const char* arguments : {R"({"city":"Paris","days":3})", R"("{\"city\":\"Paris\",\"days\":3}")"}) {
      const auto whole =
          chat->render({.messages = conversation(arguments), .tools = tools, .add_generation_prompt = false}, now);
      if (!whole.ok()) continue;
      const auto differ = std::mismatch(prompt->begin(), prompt->end(), whole->begin(), whole->end());
      size_t at = static_cast<size_t>(differ.first - prompt->begin());
      if (at < prompt->size()) at = whole->find_last_of(">\n]", at) + 1;  // the prompt opens reasoning: <t is both's
      const std::string answer = whole->substr(at);
      if (answer.find("get_weather") == std::string::npos) continue;  // it leaves calls out
      writes_calls = true;
      const std::string read = said(events_of(options, {answer}));
      reads_back |= read.find(R"(get_weather({"city":"Paris","days":3}))") != std::string::npos;
      answers += answer + "\n" + read + "\n";
    }
    if (!writes_calls) continue;
    EXPECT_TRUE(reads_back) << entry.path().filename() << " (" << format.name << ")\n" << answers;
    ++checked;
    ++formats[format.name];
  }
  for (const auto& [name, count] : formats) std::cout << "  " << name << ": " << count << "\n";
  EXPECT_GT(checked, 30u);
}

}  // namespace
}  // namespace moxie

#include "chat/tool_frame.h"

#include <gtest/gtest.h>

#include "chat/answer_parser.h"
#include "chat/chat_testing.h"
#include "chat/tool_format.h"
#include "grammar/grammar_testing.h"
#include "grammar/structure.h"

namespace moxie {
namespace {

ToolSet tools() {
  auto read = ToolSet::read(json(R"([
    {"type":"function","function":{"name":"get_weather","parameters":{"type":"object","additionalProperties":false,
      "properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}}},
    {"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{},"additionalProperties":false}}}])"));
  EXPECT_TRUE(read.ok());
  if (!read.ok()) return {};
  return *std::move(read);
}

// Does the frame of a format, without control tokens, accept the text?
class Frame {
 public:
  Frame(const ToolFormat& format, bool many, std::string_view chat_template = "") {
    const auto grammar = grammar::parse_structure(to_text(format.frame(tools(), many, chat_template)), {});
    EXPECT_TRUE(grammar.ok()) << format.name << ": " << (grammar.ok() ? "" : grammar.error().message);
    if (!grammar.ok()) return;
    auto automaton = grammar::Automaton::compile(*grammar);
    EXPECT_TRUE(automaton.ok()) << format.name << ": " << (automaton.ok() ? "" : automaton.error().message);
    if (automaton.ok()) automaton_.emplace(*std::move(automaton));
  }
  bool accepts(std::string_view text) const { return automaton_ && grammar::accepts(*automaton_, text); }

 private:
  std::optional<grammar::Automaton> automaton_;
};

struct FrameCase {
  const char *format, *one, *wrong;  // wrong: a name or a value that the tools do not allow
};

constexpr FrameCase kFrameCases[] = {
    {"mistral", R"([TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Bonn"}}])",
     R"([TOOL_CALLS][{"name": "other", "arguments": {}}])"},
    {"mistral-args", R"([TOOL_CALLS]get_weather[ARGS]{"city": "Bonn"})", "[TOOL_CALLS]get_weather[ARGS]{}"},
    {"hermes", "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Bonn\"}}\n</tool_call>",
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": 3}}\n</tool_call>"},
    {"qwen3-coder",
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nBonn\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
     "</function>\n</tool_call>",
     "<tool_call>\n<function=get_weather>\n</function>\n</tool_call>"},
    {"functionary", R"(<function=get_weather>{"city": "Bonn"}</function>)", "<function=other>{}</function>"},
    {"llama-3", R"({"name": "get_weather", "parameters": {"city": "Bonn"}})",
     R"({"name": "now", "parameters": {"a": 1}})"},
    {"generic", R"({"tool_call": {"name": "get_weather", "arguments": {"city": "Bonn"}}})", R"({"response": "text"})"},
    {"deepseek",
     R"(<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Bonn"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>)",
     "<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>"},
    {"deepseek-dsml",
     "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" "
     "string=\"true\">Bonn</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     "<｜DSML｜function_calls>\n</｜DSML｜function_calls>"},
    {"glm", "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Bonn</arg_value>\n</tool_call>",
     "<tool_call>get_weather\n</tool_call>"},
    {"kimi",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": "
     "\"Bonn\"}<|tool_call_end|><|tool_calls_section_end|>",
     "<|tool_calls_section_begin|><|tool_calls_section_end|>"},
    {"minimax",
     "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Bonn</parameter>\n</invoke>\n"
     "</minimax:tool_call>",
     "<minimax:tool_call>\n</minimax:tool_call>"},
    {"gpt-oss", "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": \"Bonn\"}",
     "<|channel|>final<|message|>Hello"},
};

// What a frame lets through is a call to the parser, and what is no call of these tools does not get through.
TEST(ToolFrame, EveryFormatIsHeldToItsForm) {
  size_t checked = 0;
  for (const ToolFormat* format : tool_formats()) {
    const auto found = std::find_if(std::begin(kFrameCases), std::end(kFrameCases),
                                    [&](const FrameCase& one) { return format->name == one.format; });
    ASSERT_NE(found, std::end(kFrameCases)) << format->name;
    ASSERT_NE(format->frame, nullptr) << format->name;
    const Frame one(*format, false), many(*format, true);
    EXPECT_TRUE(one.accepts(found->one)) << format->name;
    EXPECT_TRUE(many.accepts(found->one)) << format->name;
    EXPECT_FALSE(many.accepts(found->wrong)) << format->name;
    EXPECT_FALSE(many.accepts("")) << format->name;
    EXPECT_FALSE(many.accepts("Hello")) << format->name;
    AnswerParserOptions options;
    options.format.calls = format;
    options.tools = tools();
    AnswerParser parser(options);
    std::vector<AnswerEvent> events;
    parser.feed(found->one, events);
    parser.finish(false, events);
    ASSERT_EQ(events.size(), 3u) << format->name;
    EXPECT_EQ(events[0].name, "get_weather");
    EXPECT_NE(events[1].text.find("Bonn"), std::string::npos);
    ++checked;
  }
  EXPECT_EQ(checked, std::size(kFrameCases));
}

TEST(ToolFrame, OneCallOrSeveral) {
  const ToolFormat& hermes = *find_tool_format("hermes");
  const std::string call = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
  EXPECT_TRUE(Frame(hermes, true).accepts(call + "\n" + call));
  EXPECT_FALSE(Frame(hermes, false).accepts(call + "\n" + call));
}

TEST(Structure, RefusesWhatItDoesNotKnow) {
  for (const char* bad : {"{}", "x", R"({"root":{"poem":1}})", R"({"root":{"rule":"none"}})",
                          R"({"root":{"choice":[]}})", R"({"root":{"repeat":"a","min":-1}})", R"({"root":{"free":""}})",
                          R"({"root":{"regex":"("}})", R"({"root":{"schema":{"uniqueItems":true,"type":"array"}}})"}) {
    EXPECT_FALSE(grammar::parse_structure(bad, {}).ok()) << bad;
  }
}

TEST(Structure, FreeTextEndsAtItsMark) {
  const auto grammar =
      grammar::parse_structure(R"({"root":{"sequence":[{"free":"</t>"},"</t>",{"regex":"[0-9]{2}"}]}})", {});
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  const auto automaton = grammar::Automaton::compile(*grammar);
  ASSERT_TRUE(automaton.ok());
  EXPECT_TRUE(grammar::accepts(*automaton, "a < b </ t></t>12"));
  EXPECT_TRUE(grammar::accepts(*automaton, "</t>12"));
  EXPECT_FALSE(grammar::accepts(*automaton, "a</t>b</t>12"));
  EXPECT_FALSE(grammar::accepts(*automaton, "a</t>1"));
}

}  // namespace
}  // namespace moxie

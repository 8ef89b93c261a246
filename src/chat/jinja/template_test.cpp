#include "chat/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/json.h"
#include "support/paths.h"

namespace moxie::jinja {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

// 4 March 2025, 05:06:07, a Tuesday: the clock of the expected outputs.
std::tm fixed_clock() {
  std::tm time{};
  time.tm_year = 125;
  time.tm_mon = 2;
  time.tm_mday = 4;
  time.tm_hour = 5;
  time.tm_min = 6;
  time.tm_sec = 7;
  time.tm_wday = 2;
  time.tm_yday = 62;
  return time;
}

Value variables(std::string_view json) {
  const auto parsed = parse_json(json, "variables");
  EXPECT_TRUE(parsed.ok());
  return parsed.ok() ? from_json(*parsed) : Value();
}

Template::Outcome outcome(std::string_view source, const Value& given, const Limits& limits = {}) {
  const auto parsed = Template::parse(source);
  if (!parsed.ok()) return {parsed.error(), false};
  return parsed->render(given, fixed_clock(), limits);
}

// The message of the error, or the text with a mark that it was none.
std::string failure(std::string_view source, std::string_view json = "{}", const Limits& limits = {}) {
  const auto made = outcome(source, variables(json), limits);
  return made.text.ok() ? "no error: " + *made.text : made.text.error().message;
}

std::string rendered(std::string_view source, std::string_view json = "{}") {
  const auto made = outcome(source, variables(json));
  return made.text.ok() ? *made.text : "error: " + made.text.error().message;
}

std::vector<Json> lines_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<Json> all;
  for (std::string line; std::getline(file, line);) {
    auto parsed = parse_json(line, path);
    EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message);
    if (parsed.ok()) all.push_back(*std::move(parsed));
  }
  return all;
}

std::string text_of_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Cases with "template", "variables" and what Jinja2 made of them: "output", "refused" or "error".
void expect_cases(const std::string& path, size_t least) {
  const std::vector<Json> cases = lines_of(path);
  ASSERT_GE(cases.size(), least) << path;
  for (const Json& one : cases) {
    const std::string& source = *one.find("template")->text();
    SCOPED_TRACE(source.substr(0, 400));
    const auto made = outcome(source, from_json(*one.find("variables")));
    if (const Json* output = one.find("output")) {
      ASSERT_TRUE(made.text.ok()) << made.text.error().message;
      EXPECT_EQ(*made.text, *output->text());
      continue;
    }
    ASSERT_FALSE(made.text.ok()) << *made.text;
    EXPECT_THAT(made.text.error().message, HasSubstr("chat template, line "));
    const Json* refused = one.find("refused");
    EXPECT_EQ(made.refused, refused != nullptr);
    if (refused) {
      EXPECT_THAT(made.text.error().message, EndsWith(*refused->text()));
    }
  }
}

TEST(JinjaTemplate, EqualsJinja2) {
  expect_cases(source_dir() + "/tests/data/templates/cases.jsonl", 300);
}

// What a comparison with Python writes and points to (tests/oracle/templates_test.py).
TEST(JinjaTemplate, EqualsJinja2OnGivenCases) {
  const char* path = std::getenv("MOXIE_TEMPLATE_CASES");
  if (!path) GTEST_SKIP() << "MOXIE_TEMPLATE_CASES is not set";
  expect_cases(path, 1);
}

// The templates that real models are published with.
TEST(JinjaTemplate, PublishedTemplates) {
  const char* data = std::getenv("MOXIE_TEST_DATA");
  if (!data) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  const std::string folder = std::string(data) + "/chat-templates/";
  const std::vector<Json> lines = lines_of(folder + "render-vectors.jsonl");
  ASSERT_EQ(lines.size(), 710u);
  const Json& head = lines[0];
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::string& name = *lines[i].find("template")->text();
    const Json& conversation = *head.find("conversations")->find(*lines[i].find("conversation")->text());
    SCOPED_TRACE(name + ", " + *lines[i].find("conversation")->text());
    DictBuilder given;
    given.set("messages", from_json(*conversation.find("messages")));
    given.set("tools", conversation.find("tools") ? from_json(*conversation.find("tools")) : Value(None{}));
    given.set("documents", None{});
    const Json* prompt = conversation.find("add_generation_prompt");
    given.set("add_generation_prompt", prompt ? from_json(*prompt) : Value(true));
    for (const char* token : {"bos_token", "eos_token"}) given.set(token, from_json(*head.find(token)));
    const auto made = outcome(text_of_file(folder + "templates/" + name), given.finish());
    if (const Json* output = lines[i].find("output")) {
      ASSERT_TRUE(made.text.ok()) << made.text.error().message;
      ASSERT_EQ(*made.text, *output->text());
    } else {
      ASSERT_FALSE(made.text.ok());
      EXPECT_TRUE(made.refused);
      EXPECT_THAT(made.text.error().message, EndsWith(*lines[i].find("error")->text()));
    }
  }
}

TEST(JinjaTemplate, ErrorsNamePlaceAndRemedy) {
  EXPECT_EQ(failure("a\n{{ x.y.z }}", R"({"x": {}})"),
            "chat template, line 2: 'dict object' has no attribute 'y'; test it with 'is defined' or give a default");
  EXPECT_EQ(failure("\n\n{% if x %}"), "chat template, line 3: the template ends before 'elif' or 'else' or 'endif'");
  EXPECT_EQ(failure("{% macro f() %}\n{{ 1 + 'a' }}{% endmacro %}\n{{ f() }}"),
            "chat template, line 2: '+' is not defined for 'int' and 'str'");
  EXPECT_EQ(failure("{{ 'a'|wordwrap }}"), "chat template, line 1: there is no filter named 'wordwrap'");
  EXPECT_EQ(failure("{% extends 'x' %}"),
            "chat template, line 1: 'extends' needs other templates; put their text into this one");
  EXPECT_EQ(failure("{{ raise_exception('only text') }}"), "chat template, line 1: only text");
  EXPECT_EQ(failure("{{ x }"), "chat template, line 1: '}' closes nothing");
}

TEST(JinjaTemplate, WorkIsBounded) {
  const Limits small{.steps_max = 10'000, .depth_max = 100, .output_bytes_max = 100'000, .bytes_max = 1'000'000};
  EXPECT_THAT(failure("{% for i in range(100000) %}{% endfor %}", "{}", small), HasSubstr("at most"));
  EXPECT_THAT(failure("{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}", "{}", small),
              HasSubstr("steps"));
  EXPECT_THAT(failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{}", small), HasSubstr("within each other"));
  EXPECT_THAT(failure("{{ 'a' * 1000000000000 }}", "{}", small), HasSubstr("at most"));
  EXPECT_THAT(failure("{{ [1] * 1000000000000 }}", "{}", small), HasSubstr("at most"));
  EXPECT_THAT(failure("{% for i in range(500) %}{{ 'a' * 1000 }}{% endfor %}", "{}", small), HasSubstr("exceeds"));
  EXPECT_THAT(failure("{{ 'a'.center(1000000000) }}", "{}", small), HasSubstr("at most"));
  EXPECT_THAT(failure("{{ '%1000000000d' % 1 }}", "{}", small), HasSubstr("wider"));
  EXPECT_THAT(failure("{{ '{:1000000000}'.format(1) }}", "{}", small), HasSubstr("wider"));
  EXPECT_THAT(failure("{{ 'x'|indent(1000000000000) }}", "{}", small), HasSubstr("at most"));
  EXPECT_THAT(failure("{{ [1]|batch(1000000000000, 'x')|list }}", "{}", small), HasSubstr("at most"));
  EXPECT_THAT(failure("{{ 2 ** 1000 }}"), HasSubstr("127 bits"));
  EXPECT_THAT(failure("{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}"),
              HasSubstr("levels"));
  // Shared parts count as often as they would be written.
  EXPECT_THAT(
      failure("{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"),
      HasSubstr("bytes"));
  EXPECT_THAT(failure("{{ " + std::string(100'000, '(')), HasSubstr("deeper"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 100'000; ++i) sum += "+1";
  EXPECT_THAT(failure(sum + " }}"), HasSubstr("deeper"));
  std::string nested;
  for (int i = 0; i < 10'000; ++i) nested += "{% if x %}";
  EXPECT_THAT(failure(nested), HasSubstr("deeper"));
  EXPECT_THAT(failure(std::string(2 << 20, 'a')), HasSubstr("at most"));
}

TEST(JinjaTemplate, DeepestCallsFitTheStack) {
  // The deepest that the limits allow, in the widest frames: macros that call themselves within loops and conditions.
  EXPECT_THAT(
      failure("{% macro f(x) %}{% for i in [1] %}{% if true %}{% set y %}{{ [f(x + 1)]|map('upper')|list|join('') ~ ''"
              " }}{% endset %}{{ y }}{% endif %}{% endfor %}{% endmacro %}{{ f(1) }}"),
      HasSubstr("within each other"));
  EXPECT_THAT(failure("{% for n in t recursive %}{{ loop([n]) }}{% endfor %}", R"({"t": [1]})"),
              HasSubstr("within each other"));
}

// Values that refer to each other in circles are freed: the address sanitizer's leak check looks at this.
TEST(JinjaTemplate, CirclesAreFreed) {
  EXPECT_EQ(
      rendered("{% set ns = namespace() %}{% set ns.self = ns %}{% set ns.list = [ns] %}{{ ns.self.self is defined }}"),
      "True");
  EXPECT_EQ(
      rendered(
          "{% set ns = namespace() %}{% for i in [1, 2] %}{% set ns.l = loop %}{% macro m() %}{{ ns }}{% endmacro %}"
          "{% set ns.m = m %}{{ loop.changed(ns.l) }}{% endfor %}"),
      "TrueFalse");
  EXPECT_EQ(rendered("{% set ns = namespace(n=none) %}{% for i in range(20000) %}{% set ns.n = namespace(n=ns.n) %}{% "
                     "endfor %}ok"),
            "ok");
}

TEST(JinjaTemplate, OneTemplateManyRenderings) {
  const auto made = Template::parse("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + x %}{{ ns.n }}");
  ASSERT_TRUE(made.ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*made->render(variables(R"({"x": 2})"), fixed_clock()).text, "2");
  EXPECT_TRUE(made->names("x"));
  EXPECT_FALSE(made->names("tools"));
}

// Numbers at the edges, some of which the fuzz target found.
TEST(JinjaTemplate, NumbersDoNotOverflow) {
  EXPECT_EQ(rendered("{{ [1]|map(attribute='" + std::string(200, 'z') + "')|list }}"), "[Undefined]");
  EXPECT_EQ(rendered("{{ range(0, 4, 2305843009213693951)[::1000000000000]|list }}"), "[0]");
  EXPECT_EQ(rendered("{{ [1, 2, 3][::9999999999999999999] }}{{ 'abc'[-9999999999999999999:] }}"), "[1]abc");
  EXPECT_THAT(failure("{{ -(0 - 170141183460469231731687303715884105727 - 1) }}"), HasSubstr("127 bits"));
  EXPECT_THAT(failure("{{ (0 - 170141183460469231731687303715884105727 - 1) // -1 }}"), HasSubstr("127 bits"));
}

TEST(JinjaTemplate, BrokenTextIsMended) {
  const auto made = outcome("{{ x|length }}\xFF", from_json(Json{Json::Object{{"x", Json{std::string("a\xC3(")}}}}));
  ASSERT_TRUE(made.text.ok());
  EXPECT_EQ(*made.text, "3\xEF\xBF\xBD");
}

}  // namespace
}  // namespace moxie::jinja

// Anthropic's Messages and OpenAI's Responses. The streams and answers of tests/data/wire/ are also read with the
// official clients (tests/oracle/wire_test.py), so that what stands there is known to be right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "server/wire_anthropic.h"
#include "server/wire_responses.h"
#include "support/paths.h"

namespace moxie::server {
namespace {

using testing::HasSubstr;
using Kind = AnswerEvent::Kind;

Json json(std::string_view text) {
  auto parsed = parse_json(text, "test");
  EXPECT_TRUE(parsed.ok()) << text;
  if (!parsed.ok()) return {};
  return *std::move(parsed);
}

ChatRequest read(const ChatDialect& dialect, std::string_view body) {
  auto request = dialect.read(json(body), {});
  EXPECT_TRUE(request.ok()) << (request.ok() ? "" : request.error().message);
  if (!request.ok()) return {};
  return *std::move(request);
}

std::string refused(const ChatDialect& dialect, std::string_view body) {
  const auto request = dialect.read(json(body), {});
  return request.ok() ? "accepted" : request.error().message;
}

const AnswerIdentity kIdentity = {
    .key = "k0", .model = "demo", .created = 1700000000, .prompt_tokens = 12, .cached_tokens = 4};

// Reasoning, text and a call, as a whole and as events.
ChatAnswer answer_of(FinishReason reason) {
  ChatAnswer answer;
  answer.choices.push_back({.text = "I look.",
                            .reasoning = "Weather is wanted.",
                            .calls = {{.id = "call_1", .name = "get_weather", .arguments = R"({"city":"Bonn"})"}},
                            .logprobs = {},
                            .finished = {.reason = reason, .stop_text = {}}});
  answer.usage = {.prompt_tokens = 12, .cached_tokens = 4, .completion_tokens = 9, .reasoning_tokens = 3};
  return answer;
}

std::string streamed(const ChatDialect& dialect, const ChatRequest& request, FinishReason reason) {
  const auto writer = dialect.stream(request, kIdentity);
  std::string out;
  writer->begin(out);
  const AnswerEvent events[] = {
      {.kind = Kind::reasoning, .text = "Weather "},
      {.kind = Kind::reasoning, .text = "is wanted."},
      {.kind = Kind::text, .text = "I "},
      {.kind = Kind::text, .text = "look."},
      {.kind = Kind::call_begin, .text = {}, .call = 0, .id = "call_1", .name = "get_weather"},
      {.kind = Kind::call_arguments, .text = R"({"city":)", .call = 0},
      {.kind = Kind::call_arguments, .text = R"("Bonn"})", .call = 0},
      {.kind = Kind::call_end, .text = {}, .call = 0},
  };
  for (const AnswerEvent& event : events) writer->event({.choice = 0, .what = event, .logprobs = {}}, out);
  writer->event({.choice = 0, .what = FinishedChoice{.reason = reason, .stop_text = {}}, .logprobs = {}}, out);
  writer->end(answer_of(reason), out);
  return out;
}

// Equal to the file of that name, which MOXIE_WRITE_GOLDEN=1 writes.
void expect_golden(const std::string& name, const std::string& text) {
  const std::string path = source_dir() + "/tests/data/wire/" + name;
  if (std::getenv("MOXIE_WRITE_GOLDEN")) std::ofstream(path) << text;
  std::stringstream expected;
  expected << std::ifstream(path).rdbuf();
  EXPECT_EQ(text, expected.str()) << name;
}

constexpr std::string_view kMessages = R"({"model":"m","max_tokens":64,"messages":[{"role":"user","content":"Hi"}]})";
constexpr std::string_view kResponses =
    R"({"model":"m","input":"Hi","instructions":"Be brief.","metadata":{"a":"b"},"tools":[{"type":"function","name":"get_weather","parameters":{}}]})";

TEST(WireFormats, AnswersAreAsTheClientsReadThem) {
  const ChatRequest messages = read(anthropic_messages, kMessages), responses = read(openai_responses, kResponses);
  const ChatAnswer answer = answer_of(FinishReason::tool_calls);
  expect_golden("anthropic_answer.json", to_text(anthropic_messages.answer(messages, kIdentity, answer)) + "\n");
  expect_golden("responses_answer.json", to_text(openai_responses.answer(responses, kIdentity, answer)) + "\n");
  expect_golden("anthropic_stream.txt", streamed(anthropic_messages, messages, FinishReason::tool_calls));
  expect_golden("responses_stream.txt", streamed(openai_responses, responses, FinishReason::tool_calls));
  expect_golden("responses_cut_stream.txt", streamed(openai_responses, responses, FinishReason::length));
}

TEST(WireFormats, AnthropicRequests) {
  const ChatRequest request = read(anthropic_messages, R"({"model":"claude","max_tokens":100,"stream":true,
      "system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=1; cch=12ab;"},{"type":"text","text":"You are Claude."}],
      "messages":[{"role":"user","content":[{"type":"text","text":"Weather?","cache_control":{"type":"ephemeral"}}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"s"},{"type":"text","text":"I look."},
          {"type":"tool_use","id":"toolu_1","name":"get_weather","input":{"city":"Bonn"}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"4 C"}]},
          {"type":"tool_result","tool_use_id":"toolu_2","is_error":true,"content":"none"},{"type":"text","text":"Well?"}]}],
      "tools":[{"name":"get_weather","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"web_search"}],
      "tool_choice":{"type":"any","disable_parallel_tool_use":true},"stop_sequences":["END"],"temperature":0.5,"top_k":7,
      "thinking":{"type":"enabled","budget_tokens":1024},"output_config":{"effort":"low"}})");
  EXPECT_EQ(
      to_text(request.messages),
      R"([{"role":"system","content":"You are Claude."},{"role":"user","content":"Weather?"},)"
      R"({"role":"assistant","content":"I look.","reasoning_content":"Hm.","tool_calls":[{"id":"toolu_1","type":"function",)"
      R"("function":{"name":"get_weather","arguments":"{\"city\":\"Bonn\"}"}}]},)"
      R"({"role":"tool","tool_call_id":"toolu_1","content":"4 C"},{"role":"tool","tool_call_id":"toolu_2","content":"Error: none"},)"
      R"({"role":"user","content":"Well?"}])");
  EXPECT_EQ(
      to_text(request.tools),
      R"([{"type":"function","function":{"name":"get_weather","description":"","parameters":{"type":"object"}}}])");
  EXPECT_EQ(to_text(request.tool_choice), R"("required")");
  EXPECT_EQ(request.parallel_tool_calls, false);
  EXPECT_EQ(request.reasoning, true);
  EXPECT_EQ(request.reasoning_effort, "low");
  EXPECT_TRUE(request.stream);
  EXPECT_EQ(request.generate.max_tokens, 100);
  EXPECT_EQ(request.generate.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(request.generate.sampling.top_k, 7);
}

// The prompt, and with it the key of the prefix cache, must not see what changes with every request.
TEST(WireFormats, VolatileLinesAreLeftOut) {
  const auto system = [](std::string_view checksum) {
    return to_text(read(anthropic_messages, R"({"max_tokens":1,"messages":[{"role":"user","content":"x"}],"system":)"
                                            R"("x-anthropic-billing-header: cch=)" +
                                                std::string(checksum) + R"(;\nYou are Claude."})")
                       .messages);
  };
  EXPECT_EQ(system("aaa"), system("bbb"));
  EXPECT_THAT(system("aaa"), HasSubstr(R"("content":"You are Claude.")"));
}

TEST(WireFormats, AnthropicRefusals) {
  EXPECT_THAT(refused(anthropic_messages, R"({"messages":[{"role":"user","content":"x"}]})"),
              HasSubstr("'max_tokens'"));
  EXPECT_EQ(refused(anthropic_count_tokens, R"({"messages":[{"role":"user","content":"x"}]})"), "accepted");
  EXPECT_THAT(refused(anthropic_messages, R"({"max_tokens":1})"), HasSubstr("'messages'"));
  EXPECT_THAT(refused(anthropic_messages, R"({"max_tokens":1,"messages":[]})"), HasSubstr("'messages'"));
  EXPECT_THAT(refused(anthropic_messages, R"({"max_tokens":0,"messages":[{"role":"user","content":"x"}]})"),
              HasSubstr("max_tokens"));
  EXPECT_THAT(refused(anthropic_messages, R"({"max_tokens":1,"messages":[{"role":"robot","content":"x"}]})"),
              HasSubstr("'messages[0].role'"));
  EXPECT_THAT(refused(anthropic_messages, R"({"max_tokens":1,"messages":[{"role":"user"}]})"),
              HasSubstr("'messages[0].content'"));
  EXPECT_THAT(
      refused(anthropic_messages, R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image"}]}]})"),
      HasSubstr("'messages[0].content[0]' is an image"));
  EXPECT_THAT(refused(anthropic_messages,
                      R"({"max_tokens":1,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"maybe"}})"),
              HasSubstr("'tool_choice.type'"));
}

TEST(WireFormats, ResponsesRequests) {
  const ChatRequest request =
      read(openai_responses, R"({"model":"gpt","instructions":"Be brief.","max_output_tokens":50,
      "input":[{"role":"developer","content":"Kindly."},{"type":"message","role":"user","content":[{"type":"input_text","text":"Weather?"}]},
        {"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}]},
        {"type":"function_call","id":"fc_1","call_id":"call_1","name":"get_weather","arguments":"{}"},
        {"type":"function_call","call_id":"call_2","name":"get_weather","arguments":"{}"},
        {"type":"function_call_output","call_id":"call_1","output":"4 C"},
        {"type":"function_call_output","call_id":"call_2","output":[{"type":"input_text","text":"5 C"}]},
        {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Cold."}]},
        {"type":"web_search_call","id":"ws_1"},{"role":"user","content":"Thanks"}],
      "tools":[{"type":"function","name":"get_weather","parameters":{"type":"object"},"strict":true},{"type":"web_search"},
        {"type":"custom","name":"patch"}],
      "tool_choice":{"type":"function","name":"get_weather"},"text":{"format":{"type":"json_schema","name":"s","schema":{"type":"object"}}},
      "reasoning":{"effort":"low"},"store":true,"include":["reasoning.encrypted_content"],"unknown":1})");
  EXPECT_EQ(
      to_text(request.messages),
      R"([{"role":"system","content":"Be brief."},{"role":"system","content":"Kindly."},{"role":"user","content":"Weather?"},)"
      R"({"role":"assistant","content":"","reasoning_content":"Hm.","tool_calls":[{"id":"call_1","type":"function","function":)"
      R"({"name":"get_weather","arguments":"{}"}},{"id":"call_2","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},)"
      R"({"role":"tool","tool_call_id":"call_1","content":"4 C"},{"role":"tool","tool_call_id":"call_2","content":"5 C"},)"
      R"({"role":"assistant","content":"Cold."},{"role":"user","content":"Thanks"}])");
  EXPECT_EQ(to_text(request.tools),
            R"([{"type":"function","function":{"name":"get_weather","parameters":{"type":"object"},"strict":true}}])");
  EXPECT_EQ(to_text(request.tool_choice), R"({"type":"function","name":"get_weather"})");
  EXPECT_EQ(request.generate.sampling.json_schema, R"({"type":"object"})");
  EXPECT_EQ(request.generate.max_tokens, 50);
  EXPECT_EQ(request.reasoning_effort, "low");
}

TEST(WireFormats, ResponsesRefusals) {
  EXPECT_THAT(refused(openai_responses, R"({"input":"x","previous_response_id":"resp_1"})"),
              HasSubstr("'previous_response_id' is \"resp_1\"; this server keeps no responses"));
  EXPECT_THAT(refused(openai_responses, R"({"input":"x","background":true})"), HasSubstr("'background'"));
  EXPECT_THAT(refused(openai_responses, R"({})"), HasSubstr("'input'"));
  EXPECT_THAT(refused(openai_responses, R"({"input":[{"type":"item_reference","id":"msg_1"}]})"), HasSubstr("msg_1"));
  EXPECT_THAT(refused(openai_responses, R"({"input":[{"role":"user","content":[{"type":"input_image"}]}]})"),
              HasSubstr("'input[0].content[0]'"));
  EXPECT_THAT(refused(openai_responses, R"({"input":"x","text":{"format":{"type":"poem"}}})"),
              HasSubstr("'text.format'"));
}

TEST(WireFormats, ErrorsHaveEachClientsShape) {
  const Error error{ErrorCode::invalid_argument, "'x' is wrong"};
  EXPECT_EQ(
      to_text(anthropic_messages.error(error, 400, "req_1")),
      R"({"type":"error","error":{"type":"invalid_request_error","message":"'x' is wrong"},"request_id":"req_1"})");
  EXPECT_EQ(to_text(openai_responses.error(error, 404, "req_1")),
            R"({"error":{"message":"'x' is wrong","type":"not_found_error","param":null,"code":404}})");
  const std::pair<int, std::string_view> types[] = {
      {401, "authentication_error"}, {403, "permission_error"}, {404, "not_found_error"}, {413, "request_too_large"},
      {429, "rate_limit_error"},     {500, "api_error"},        {503, "overloaded_error"}};
  for (const auto& [status, type] : types) EXPECT_EQ(anthropic_error_type(status), type);
  std::string out;
  anthropic_messages.stream({}, kIdentity)->failure({ErrorCode::internal, "broke"}, out);
  EXPECT_EQ(out,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"broke\"}}\n\n");
}

TEST(WireFormats, StopSequencesAreNamed) {
  ChatAnswer answer;
  answer.choices.push_back(
      {.text = "a", .reasoning = {}, .calls = {}, .logprobs = {}, .finished = {FinishReason::stop_text, "END"}});
  const std::string text = to_text(anthropic_messages.answer({}, kIdentity, answer));
  EXPECT_THAT(text, HasSubstr(R"("stop_reason":"stop_sequence","stop_sequence":"END")"));
}

}  // namespace
}  // namespace moxie::server

#include "server/wire_openai_chat.h"

#include <gtest/gtest.h>

#include "server/json_build.h"

namespace moxie::server {
namespace {

Json parsed(std::string_view text) {
  auto json = parse_json(text, "the test");
  EXPECT_TRUE(json.ok()) << text;
  return json.ok() ? *json : Json{};
}

std::string refusal(std::string_view body) {
  const auto request = openai_chat.read(parsed(body), {});
  return request.ok() ? "" : request.error().message;
}

TEST(OpenAiChat, ReadsWhatItsClientsSend) {
  GenerateOptions defaults;
  defaults.sampling.temp = 0.5f;
  const auto request = openai_chat.read(parsed(R"({"model":"gpt","messages":[{"role":"developer","content":"Be brief."},
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","tool_calls":[{"id":"1"}],"refusal":null},{"role":"tool","content":"r","tool_call_id":"1"}],
      "max_tokens":9,"max_completion_tokens":4.0,"stop":["x",""],"n":2,"seed":-1,"logprobs":true,"top_logprobs":3,
      "stream":true,"stream_options":{"include_usage":true},"top_k":7,"logit_bias":{"5":-100},"store":false,
      "reasoning_effort":"low","user":"me"})"),
                                        defaults);
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->model, "gpt");
  EXPECT_EQ(to_text(request->messages), R"([{"role":"system","content":"Be brief."},{"role":"user","content":"a\nb"},)"
                                        R"({"role":"assistant","tool_calls":[{"id":"1"}],"content":null},)"
                                        R"({"role":"tool","content":"r","tool_call_id":"1"}])");
  EXPECT_EQ(request->generate.max_tokens, 4);
  EXPECT_EQ(request->generate.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(request->generate.sampling.temp, 0.5f);
  EXPECT_EQ(request->generate.sampling.top_k, 7);
  EXPECT_EQ(request->generate.sampling.seed, 0xFFFFFFFFu);
  EXPECT_EQ(request->generate.sampling.logit_bias, (std::vector<std::pair<int32_t, float>>{{5, -100.0f}}));
  EXPECT_EQ(request->choices, 2);
  EXPECT_EQ(request->top_logprobs, 3);
  EXPECT_TRUE(request->stream && request->include_usage);
  EXPECT_EQ(request->reasoning_effort, "low");
}

TEST(OpenAiChat, FieldsAreRefusedByName) {
  const std::string good = R"("messages":[{"role":"user","content":"a"}])";
  EXPECT_EQ(refusal("{" + good + "}"), "");
  for (const auto& [extra, field] : std::vector<std::pair<std::string, std::string>>{
           {R"("max_tokens":"9")", "'max_tokens' is \"9\"; it must be a whole number"},
           {R"("top_p":1.5)", "'top_p' is 1.5; it must be a number from 0 to 1"},
           {R"("stop":{})", "'stop' is {}; it must be a text or a list of texts"},
           {R"("stream_options":{"include_usage":1})", "'stream_options.include_usage' is 1"},
           {R"("response_format":{"type":"xml"})", "'response_format.type'"},
           {R"("response_format":{"type":"json_object"},"grammar":"root ::= \"a\"")", "'response_format'"},
           {R"("top_logprobs":1)", "'top_logprobs'"}}) {
    const std::string said = refusal("{" + good + "," + extra + "}");
    EXPECT_TRUE(said.starts_with(field)) << extra << ": " << said;
  }
  EXPECT_TRUE(refusal("{}").starts_with("'messages' is missing"));
}

TEST(OpenAiChat, CallsStreamAsFragmentsOfOneIndex) {
  ChatRequest request;
  request.stream = true;
  const auto writer = openai_chat.stream(request, {.key = "k", .model = "m", .created = 1});
  std::string out;
  using Kind = AnswerEvent::Kind;
  writer->begin(out);
  writer->event({.what = AnswerEvent{.kind = Kind::call_begin, .call = 1, .id = "c1", .name = "add"}}, out);
  writer->event({.what = AnswerEvent{.kind = Kind::call_arguments, .text = "{\"a\":1}", .call = 1}}, out);
  writer->event({.what = AnswerEvent{.kind = Kind::call_end, .call = 1}}, out);
  writer->event({.what = FinishedChoice{.reason = FinishReason::tool_calls}}, out);
  writer->end({}, out);
  EXPECT_NE(
      out.find(
          R"("delta":{"tool_calls":[{"index":1,"id":"c1","type":"function","function":{"name":"add","arguments":""}}]})"),
      std::string::npos)
      << out;
  EXPECT_NE(out.find(R"("delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"a\":1}"}}]})"),
            std::string::npos);
  EXPECT_NE(out.find(R"("delta":{},"logprobs":null,"finish_reason":"tool_calls")"), std::string::npos);
  EXPECT_TRUE(out.ends_with("data: [DONE]\n\n"));
}

}  // namespace
}  // namespace moxie::server

#include "cli/url_bench.h"

#include <gtest/gtest.h>

namespace moxie::cli {
namespace {

TEST(UrlBench, AddressesGetTheirPath) {
  EXPECT_EQ(api_base("http://127.0.0.1:8080"), "http://127.0.0.1:8080/v1");
  EXPECT_EQ(api_base("127.0.0.1:8080/"), "http://127.0.0.1:8080/v1");
  EXPECT_EQ(api_base("https://example.org/v1/"), "https://example.org/v1");
  EXPECT_EQ(api_base("https://example.org/openai/v1"), "https://example.org/openai/v1");
}

TEST(UrlBench, EventsComeWholeFromAnyPieces) {
  const std::string stream =
      ": waiting\n\ndata: {\"a\":1}\n\nevent: named\r\ndata:two\r\ndata: lines\r\n\r\n\ndata: [DONE]\n\ndata: cut";
  const std::vector<std::string> expected = {"{\"a\":1}", "two\nlines", "[DONE]"};
  for (size_t size = 1; size <= stream.size(); ++size) {
    EventReader reader;
    std::vector<std::string> data;
    for (size_t at = 0; at < stream.size(); at += size) reader.feed(std::string_view(stream).substr(at, size), data);
    EXPECT_EQ(data, expected) << size;
  }
}

TEST(UrlBench, ReportsNameWhatWasMeasured) {
  UrlReport report{.url = "http://x/v1", .model = "m", .repetitions = 3, .max_tokens = 8};
  report.cold.first_token_seconds = {0.1, 0.2, 0.4};
  report.cold.tokens_per_s = {10, 20, 30};
  report.repeated.first_token_seconds = {0.01};
  report.tools = {.asked = 3, .well_formed = 2, .seconds = {1, 2}, .problem = "the answer has no tool_calls"};
  report.clients.push_back({.clients = 4, .first_token_seconds = {0.5}, .tokens_per_s = {40}});
  const std::string text = report.markdown();
  EXPECT_NE(text.find("200.0 (100.0 - 400.0) | 20.0 (10.0 - 30.0)"), std::string::npos) << text;
  EXPECT_NE(text.find("4 clients at once"), std::string::npos) << text;
  EXPECT_NE(text.find("2 of 3 well-formed, 1.50 (1.00 - 2.00) s; the answer has no tool_calls"), std::string::npos)
      << text;
  const std::string json = report.json();
  EXPECT_NE(json.find("\"first_token_s\": 0.2"), std::string::npos) << json;
  EXPECT_NE(json.find("\"well_formed\": 2"), std::string::npos) << json;
}

}  // namespace
}  // namespace moxie::cli

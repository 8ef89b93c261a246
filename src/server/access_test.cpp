#include "server/access.h"

#include <gtest/gtest.h>

namespace moxie::server {
namespace {

HttpRequest request_with(std::map<std::string, std::string, std::less<>> headers, std::string method = "POST") {
  HttpRequest request;
  request.method = std::move(method);
  request.headers = std::move(headers);
  return request;
}

int status_of(const Access& access, std::map<std::string, std::string, std::less<>> headers, bool open = false) {
  const auto refusal = access.check(request_with(std::move(headers)), open);
  return refusal ? refusal->status : 200;
}

TEST(Access, AnswersToItsOwnNamesAndToAddressesOnly) {
  const Access access({.host = "moxie.example", .allowed_hosts = {"Other.Example"}});
  for (const char* host : {"127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "192.168.1.5",
                           "moxie.example:80", "a.localhost", "other.example"}) {
    EXPECT_EQ(status_of(access, {{"host", host}}), 200) << host;
  }
  for (const char* host :
       {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", "1.2.3", "evil:80"}) {
    EXPECT_EQ(status_of(access, {{"host", host}}), 403) << host;
  }
  EXPECT_EQ(status_of(Access({.host = "0.0.0.0", .allowed_hosts = {"*"}}), {{"host", "evil.example"}}), 200);
}

TEST(Access, AKeyStandsForTheName) {
  const Access access({.keys = {"secret", "second"}, .host = "127.0.0.1"});
  EXPECT_EQ(status_of(access, {{"host", "evil.example"}}), 401);
  EXPECT_EQ(status_of(access, {{"host", "any.example"}, {"authorization", "Bearer secret"}}), 200);
  EXPECT_EQ(status_of(access, {{"authorization", "bearer second"}}), 200);
  EXPECT_EQ(status_of(access, {{"x-api-key", "second"}}), 200);
  for (const char* wrong : {"", "secre", "secrets", "secretsecret", "Secret", "secret second"}) {
    EXPECT_EQ(status_of(access, {{"authorization", std::string("Bearer ") + wrong}}), 401) << wrong;
    EXPECT_EQ(status_of(access, {{"x-api-key", wrong}}), 401) << wrong;
  }
  EXPECT_EQ(status_of(access, {}, true), 200);
}

TEST(Access, WebPagesAreStrangersUnlessTheyAreNamed) {
  const Access closed({.host = "127.0.0.1"});
  EXPECT_EQ(status_of(closed, {{"host", "127.0.0.1:8080"}, {"origin", "https://example.com"}}), 403);
  EXPECT_EQ(status_of(closed, {{"host", "127.0.0.1:8080"}, {"origin", "null"}}), 403);
  EXPECT_EQ(status_of(closed, {{"host", "127.0.0.1:8080"}, {"origin", "http://127.0.0.1:8080"}}), 200);
  EXPECT_TRUE(closed.cors_headers(request_with({{"origin", "https://example.com"}}), true).empty());

  const Access named({.host = "127.0.0.1", .cors_origins = {"https://example.org"}});
  EXPECT_EQ(status_of(named, {{"host", "localhost"}, {"origin", "https://example.org"}}), 200);
  EXPECT_EQ(status_of(named, {{"host", "localhost"},
                              {"origin",
                               "https://example.org"
                               ".evil"}}),
            403);
  const auto headers = named.cors_headers(
      request_with({{"origin", "https://example.org"}, {"access-control-request-headers", "X-Stainless-Os"}}), true);
  ASSERT_FALSE(headers.empty());
  EXPECT_EQ(headers[0].second, "https://example.org");
  EXPECT_NE(std::find(headers.begin(), headers.end(),
                      std::pair<std::string, std::string>("Access-Control-Allow-Headers", "X-Stainless-Os")),
            headers.end());
}

TEST(Access, KeysOfAFile) {
  const auto keys = keys_of_file("# ours\n\n one \r\ntwo", "keys.txt");
  ASSERT_TRUE(keys.ok());
  EXPECT_EQ(*keys, (std::vector<std::string>{"one", "two"}));
  EXPECT_FALSE(keys_of_file("# none\n", "keys.txt").ok());
  EXPECT_FALSE(keys_of_file("one two\n", "keys.txt").ok());
}

TEST(Access, ComparisonIsThatOfTexts) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  for (const auto& [a, b] : std::vector<std::pair<std::string, std::string>>{
           {"abc", "abd"}, {"abc", ""}, {"", "abc"}, {"aa", "a"}, {"a", "aa"}, {"abab", "ab"}}) {
    EXPECT_FALSE(equal_in_constant_time(a, b)) << a << " " << b;
  }
}

}  // namespace
}  // namespace moxie::server

#include "server/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

#include "core/fail.h"
#include "support/paths.h"

namespace moxie::server {
namespace {

constexpr std::string_view kChat = R"({"model":"one","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]})";

// The whole response to one request, head and body.
std::string ask(const std::string& url, std::string_view method, std::string_view path, std::string_view body = "",
                std::string_view headers = "") {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string request =
        fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n{}", method,
                    path, body.size(), headers, body);
    if (send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size())) {
      char piece[4096];
      for (ssize_t count; (count = recv(fd, piece, sizeof piece, 0)) > 0;) answer.append(piece, static_cast<size_t>(count));
    }
  }
  close(fd);
  return answer;
}

int status_of(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::stoi(answer.substr(9, 3)) : 0;
}

// Opens only when it is let.
struct Gate {
  std::promise<void> opened, asked;
  std::shared_future<void> open{opened.get_future()};
  std::atomic<int> calls{0};

  Result<std::unique_ptr<Engine>> pass(const OfferedModel& model) {
    if (calls++ == 0) asked.set_value();
    open.wait();
    EngineOptions options;
    options.model = model.path;
    options.ctx_size = 256;
    return Engine::open(options);
  }
};

std::string small_model() {
  return source_dir() + "/tests/data/models/stories260k-moe8";
}

ServerOptions quiet() {
  ServerOptions options;
  options.port = 0;
  return options;
}

TEST(Server, SaysThatTheModelIsLoading) {
  Gate gate;
  auto server = Server::start(quiet(), {.models = {{.path = small_model()}},
                                        .open = [&](const OfferedModel& model, const std::atomic<bool>&) {
                                          return gate.pass(model);
                                        }});
  ASSERT_TRUE(server.ok()) << server.error().message;
  const std::string url = (*server)->url();
  auto opening = std::async(std::launch::async, [&] { return (*server)->open(); });
  gate.asked.get_future().wait();
  for (const char* path : {"/health", "/v1/models", "/props", "/slots", "/metrics"}) {
    const std::string answer = ask(url, "GET", path);
    EXPECT_EQ(status_of(answer), 503) << path;
    EXPECT_NE(answer.find(R"("message":"Loading model","type":"unavailable_error")"), answer.npos) << answer;
    EXPECT_NE(answer.find("Retry-After"), answer.npos);
  }
  EXPECT_EQ(status_of(ask(url, "POST", "/v1/chat/completions", kChat)), 503);
  const std::string anthropic = ask(url, "POST", "/v1/messages", kChat);
  EXPECT_EQ(status_of(anthropic), 503);
  EXPECT_NE(anthropic.find(R"("type":"overloaded_error","message":"Loading model")"), anthropic.npos) << anthropic;
  EXPECT_EQ(status_of(ask(url, "GET", "/nothing")), 404);

  gate.opened.set_value();
  const auto model = opening.get();
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->id, "stories260k-moe8");
  EXPECT_EQ(status_of(ask(url, "GET", "/health")), 200);
  EXPECT_EQ(status_of(ask(url, "POST", "/v1/chat/completions", kChat)), 200);
}

TEST(Server, AnswersWhileItOpensAModelOnRequest) {
  Gate gate;
  const std::vector<OfferedModel> models = {{.id = "one", .path = small_model()}, {.id = "two", .path = small_model()}};
  auto server = Server::start(quiet(), {.models = models,
                                        .look = [&] { return models; },
                                        .open =
                                            [&](const OfferedModel& model, const std::atomic<bool>&) {
                                              return gate.pass(model);
                                            }});
  ASSERT_TRUE(server.ok()) << server.error().message;
  const std::string url = (*server)->url();
  EXPECT_EQ(status_of(ask(url, "GET", "/health")), 200);
  auto chat = std::async(std::launch::async, [&] { return ask(url, "POST", "/v1/chat/completions", kChat); });
  gate.asked.get_future().wait();
  EXPECT_EQ(status_of(ask(url, "GET", "/health")), 503);
  EXPECT_NE(ask(url, "GET", "/v1/models").find(R"("status":{"value":"loading"})"), std::string::npos);
  EXPECT_EQ(status_of(ask(url, "GET", "/metrics")), 200);
  EXPECT_EQ(chat.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  gate.opened.set_value();
  EXPECT_EQ(status_of(chat.get()), 200);
  EXPECT_EQ(status_of(ask(url, "GET", "/health")), 200);
}

TEST(Server, ShutsDownWhileRequestsWaitForAModel) {
  Gate gate;
  const std::vector<OfferedModel> models = {{.id = "one", .path = small_model()}, {.id = "two", .path = small_model()}};
  auto server = Server::start(quiet(), {.models = models,
                                        .look = [&] { return models; },
                                        .open =
                                            [&](const OfferedModel& model, const std::atomic<bool>&) {
                                              return gate.pass(model);
                                            }});
  ASSERT_TRUE(server.ok()) << server.error().message;
  const std::string url = (*server)->url();
  auto chat = std::async(std::launch::async, [&] { return ask(url, "POST", "/v1/chat/completions", kChat); });
  gate.asked.get_future().wait();
  const std::atomic<bool> hurry{false};
  auto ended = std::async(std::launch::async, [&] { return (*server)->drain(10, hurry); });
  EXPECT_EQ(status_of(chat.get()), 503);
  EXPECT_EQ(ended.get(), 0);
  gate.opened.set_value();
}

}  // namespace
}  // namespace moxie::server

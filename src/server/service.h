// What the endpoints share: the model, its scheduler, the server's options and counts. Thread-safe; everything but the
// counts is constant.
#pragma once

#include <atomic>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "chat/chat_format.h"
#include "engine/chat_prompts.h"
#include "engine/scheduler.h"
#include "server/request_error.h"
#include "server/server.h"
#include "server/worker_pool.h"

namespace moxie::server {

struct HttpCounts {
  std::atomic<uint64_t> requests{0}, errors{0}, refused{0};
};

class Service {
 public:
  Engine& engine;
  ServerOptions options;
  std::unique_ptr<Scheduler> scheduler;
  // Nothing: the model has no tokenizer. The second format: of the template for tools, where the model has one.
  std::optional<ChatPrompts> prompts;
  std::optional<ChatFormat> chat_format, tool_format;
  std::string model_id;
  std::time_t started = std::time(nullptr);
  HttpCounts counts;
  std::atomic<bool> draining{false};
  std::function<int()> connections;

  Service(Engine& serving, ServerOptions chosen) : engine(serving), options(std::move(chosen)) {}

  // With --strict-model: is the request for this model? Errors: not_found.
  Result<void> check_model(std::string_view name) const;
  // Errors: unsupported.
  Result<const Tokenizer*> tokenizer() const;
  // Why scheduler->submit() refused, with the time to come again.
  RequestError refused(Error error) const;
  // Errors: the prompt leaves no room in the context, with both numbers.
  std::optional<RequestError> check_length(size_t prompt_tokens) const;
};

// The body as JSON. Errors: invalid_argument.
Result<Json> body_json(const HttpRequest& request);
uint64_t random_number();
// Random letters and digits.
std::string random_key(size_t length);

}  // namespace moxie::server

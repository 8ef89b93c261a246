// What the endpoints share: the server's options and counts, and the model that answers a request with its scheduler.
// Thread-safe; everything but the counts is constant.
#pragma once

#include <atomic>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "chat/chat_format.h"
#include "engine/chat_prompts.h"
#include "engine/scheduler.h"
#include "server/offered_models.h"
#include "server/request_error.h"
#include "server/server.h"
#include "server/worker_pool.h"

namespace moxie::server {

class ModelHost;

struct HttpCounts {
  std::atomic<uint64_t> requests{0}, errors{0}, refused{0};
};

// Of the server, whatever model answers.
struct ServerState {
  ServerOptions options;
  std::time_t started = std::time(nullptr);
  HttpCounts counts;
  std::atomic<bool> draining{false};
  std::atomic<const HttpServer*> http{nullptr};  // once it listens
  std::unique_ptr<ModelHost> models;

  explicit ServerState(ServerOptions chosen);
  ~ServerState();
};

// One open model.
class Service {
 public:
  const ServerState& server;
  const ServerOptions& options;
  const OfferedModel offered;
  const std::unique_ptr<Engine> owned;
  Engine& engine;
  std::unique_ptr<Scheduler> scheduler;
  // Nothing: the model has no tokenizer. The second format: of the template for tools, where the model has one.
  std::optional<ChatPrompts> prompts;
  std::optional<ChatFormat> chat_format, tool_format;
  std::string model_id;

  // Errors: those of the scheduler and of the chat template.
  static Result<std::unique_ptr<Service>> create(const ServerState& server, OfferedModel offered,
                                                 std::unique_ptr<Engine> engine);

  // With --strict-model: is the request for this model? Errors: not_found.
  Result<void> check_model(std::string_view name) const;
  // Errors: unsupported.
  Result<const Tokenizer*> tokenizer() const;
  // Why scheduler->submit() refused, with the time to come again.
  RequestError refused(Error error) const;
  // Errors: the prompt leaves no room in the context, with both numbers.
  std::optional<RequestError> check_length(size_t prompt_tokens) const;

 private:
  Service(const ServerState& state, OfferedModel model, std::unique_ptr<Engine> opened)
      : server(state), options(state.options), offered(std::move(model)), owned(std::move(opened)), engine(*owned) {}
};

// Who holds one keeps the model open.
using ServiceLease = std::shared_ptr<Service>;

// The body as JSON. Errors: invalid_argument.
Result<Json> body_json(const HttpRequest& request);
uint64_t random_number();
// Random letters and digits.
std::string random_key(size_t length);

}  // namespace moxie::server

#include "server/service.h"

#include <sys/random.h>

#include <filesystem>

#include "core/fail.h"
#include "core/printable.h"
#include "server/fields.h"
#include "server/model_host.h"

namespace moxie::server {
namespace {

std::string id_of(const Engine& engine, const ServerOptions& options) {
  if (!options.alias.empty()) return options.alias;
  const ModelInfo& model = engine.model();
  const std::string file = std::filesystem::path(model.path).lexically_normal().filename().string();
  return !file.empty() ? file : !model.name.empty() ? model.name : "moxie";
}

}  // namespace

ServerState::ServerState(ServerOptions chosen) : options(std::move(chosen)) {}
ServerState::~ServerState() = default;

Result<std::unique_ptr<Service>> Service::create(const ServerState& server, OfferedModel offered,
                                                 std::unique_ptr<Engine> engine) {
  auto service = std::unique_ptr<Service>(new Service(server, std::move(offered), std::move(engine)));
  service->model_id = service->offered.id.empty() ? id_of(service->engine, server.options) : service->offered.id;
  MOXIE_TRY(service->scheduler, Scheduler::create(service->engine, server.options.scheduler));
  if (!service->engine.has_tokenizer()) return service;
  MOXIE_TRY(service->prompts, ChatPrompts::create(service->engine, server.options.chat_template));
  const RenderChat render = [&prompts = *service->prompts](const ChatInput& input) -> Result<std::string> {
    MOXIE_TRY(auto prompt, prompts.write(input));
    return std::move(prompt.text);
  };
  service->chat_format = ChatFormat::probe(service->prompts->source(false), render);
  if (service->prompts->source(true) != service->prompts->source(false)) {
    service->tool_format = ChatFormat::probe(service->prompts->source(true), render);
  }
  return service;
}

Result<void> Service::check_model(std::string_view name) const {
  const bool one = server.models == nullptr || server.models->is_fixed();  // else the host has chosen by the name
  if (!one || !options.strict_model || name.empty() || name == model_id) return {};
  return fail(ErrorCode::not_found, "'model' is '{}'; the model here is '{}'", printable(name.substr(0, 200)),
              model_id);
}

Result<const Tokenizer*> Service::tokenizer() const {
  if (!prompts) {
    return fail(ErrorCode::unsupported, "the model carries no tokenizer, so it cannot read or write text");
  }
  return &prompts->tokenizer();
}

RequestError Service::refused(Error error) const {
  RequestError made{.error = std::move(error)};
  if (made.error.code != ErrorCode::unavailable) return made;
  const bool ending = server.draining.load();
  made.status = ending ? 503 : 429;
  made.headers = {{"Retry-After", std::to_string(ending ? 5 : scheduler->retry_after_seconds())}};
  return made;
}

std::optional<RequestError> Service::check_length(size_t prompt_tokens) const {
  const int64_t context = engine.runtime().context_tokens;
  if (static_cast<int64_t>(prompt_tokens) < context) return std::nullopt;
  return RequestError{
      .error =
          fail(ErrorCode::invalid_argument,
               "the prompt has {} tokens, and the context holds {} with the answer; shorten it, or start the server "
               "with a larger -c",
               prompt_tokens, context),
      .code = "context_length_exceeded"};
}

Result<Json> body_json(const HttpRequest& request) {
  if (request.body.empty()) return fail(ErrorCode::invalid_argument, "the body is empty; it must be a JSON object");
  auto parsed = parse_json(request.body, "the body", {.bytes_max = request.body.size(), .depth_max = 100});
  if (!parsed.ok()) return fail(ErrorCode::invalid_argument, "{}", parsed.error().message);
  if (parsed->object() == nullptr) {
    return fail(ErrorCode::invalid_argument, "the body is {}; it must be a JSON object", shown(*parsed));
  }
  return parsed;
}

uint64_t random_number() {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) == sizeof number) return number;
  static std::atomic<uint64_t> next{1};
  return next++;
}

std::string random_key(size_t length) {
  static constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string key(length, '\0');
  if (getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
    static std::atomic<uint64_t> next{0};
    key = fmt::format("{:0>{}}", next++, length);
  }
  for (char& c : key) c = kLetters[static_cast<unsigned char>(c) % kLetters.size()];
  return key;
}

}  // namespace moxie::server

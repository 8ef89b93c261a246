#include "server/server.h"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "core/fail.h"
#include "server/endpoint.h"
#include "server/request_log.h"
#include "server/service.h"
#include "server/worker_pool.h"

namespace moxie::server {
namespace {

constexpr size_t kTasksMax = 512;

std::string id_of(const Engine& engine, const ServerOptions& options) {
  if (!options.alias.empty()) return options.alias;
  const ModelInfo& model = engine.model();
  const std::string file = std::filesystem::path(model.path).lexically_normal().filename().string();
  return !file.empty() ? file : !model.name.empty() ? model.name : "moxie";
}

}  // namespace

struct Server::Impl {
  Service service;
  std::string url;
  std::unique_ptr<WorkerPool> workers;
  std::unique_ptr<HttpServer> http;

  Impl(Engine& engine, ServerOptions options) : service(engine, std::move(options)) {}
  ~Impl();

  Result<void> start();
  std::optional<HttpResponse> admit(const Access& access, const HttpRequest& request);
  void handle(const Access& access, const std::shared_ptr<HttpExchange>& exchange);
  void run(const EndpointEntry& entry, const std::shared_ptr<HttpExchange>& exchange);
  void log(const HttpExchange& exchange);
};

Server::Impl::~Impl() {
  // From the outside in: no requests, then no work for those that are left.
  if (service.scheduler) service.scheduler->drain(0);
  http.reset();
  workers.reset();
  service.scheduler.reset();
}

// By the head of a request alone. Runs on the network thread.
std::optional<HttpResponse> Server::Impl::admit(const Access& access, const HttpRequest& request) {
  const Route route = find_endpoint(request.method, request.path);
  const auto refuse = [&](int status, std::string_view message) {
    ++service.counts.refused;
    HttpResponse response = error_response(status, message);
    for (auto& header : access.cors_headers(request, false)) response.headers.push_back(std::move(header));
    return response;
  };
  if (const auto refusal = access.check(request, route.entry != nullptr && route.entry->open)) {
    return refuse(refusal->status, refusal->message);
  }
  if (request.method == "OPTIONS") {
    return HttpResponse{.status = 204, .content_type = "", .headers = access.cors_headers(request, true)};
  }
  if (route.entry == nullptr && route.other_method) {
    return refuse(405, fmt::format("{} is not for {}", request.path.substr(0, 100), request.method));
  }
  if (route.entry == nullptr) return refuse(404, "File Not Found");
  return std::nullopt;
}

void Server::Impl::run(const EndpointEntry& entry, const std::shared_ptr<HttpExchange>& exchange) {
  if (entry.handle != nullptr) return entry.handle(service, exchange);
  auto response = entry.answer(service, exchange->request());
  exchange->respond(response.ok() ? *std::move(response) : error_response({.error = response.error()}));
}

// Runs on the network thread.
void Server::Impl::handle(const Access& access, const std::shared_ptr<HttpExchange>& exchange) {
  ++service.counts.requests;
  const HttpRequest& request = exchange->request();
  exchange->set_common_headers(access.cors_headers(request, false));
  const EndpointEntry* entry = find_endpoint(request.method, request.path).entry;
  if (entry == nullptr) return exchange->respond(error_response(404, "File Not Found"));
  if (entry->immediate) return run(*entry, exchange);
  if (!workers->post([this, entry, exchange] { run(*entry, exchange); })) {
    exchange->respond(error_response({.error = fail(ErrorCode::unavailable, "too many requests wait to be read"),
                                      .headers = {{"Retry-After", "1"}}}));
  }
}

void Server::Impl::log(const HttpExchange& exchange) {
  const int status = exchange.status();
  if (status >= 500) ++service.counts.errors;
  if (!service.options.log) return;
  const HttpRequest& request = exchange.request();
  const RequestFacts facts = {.time = time_text(),
                              .seconds = std::chrono::duration<double>(Clock::now() - request.arrived).count(),
                              .status = status,
                              .bytes = exchange.bytes_sent()};
  service.options.log(request_line(request, exchange.notes(), facts, service.options.log_json));
}

Result<void> Server::Impl::start() {
  ServerOptions& options = service.options;
  service.model_id = id_of(service.engine, options);
  MOXIE_TRY(service.scheduler, Scheduler::create(service.engine, options.scheduler));
  if (service.engine.has_tokenizer()) {
    MOXIE_TRY(service.prompts, ChatPrompts::create(service.engine, options.chat_template));
    const RenderChat render = [this](const ChatInput& input) -> Result<std::string> {
      MOXIE_TRY(auto prompt, service.prompts->write(input));
      return std::move(prompt.text);
    };
    service.chat_format = ChatFormat::probe(service.prompts->source(false), render);
    if (service.prompts->source(true) != service.prompts->source(false)) {
      service.tool_format = ChatFormat::probe(service.prompts->source(true), render);
    }
  }
  const int threads = options.threads_http > 0
                          ? options.threads_http
                          : static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 2u, 8u));
  workers = std::make_unique<WorkerPool>(threads, kTasksMax);

  options.access.host = options.host;
  const auto access = std::make_shared<const Access>(options.access);
  HttpServerOptions http_options;
  http_options.host = options.host;
  http_options.port = options.port;
  http_options.tls_key = options.tls_key;
  http_options.tls_certificate = options.tls_certificate;
  http_options.limits = options.limits;
  http_options.admit = [this, access](const HttpRequest& request) { return admit(*access, request); };
  http_options.handle = [this, access](const std::shared_ptr<HttpExchange>& exchange) { handle(*access, exchange); };
  http_options.on_end = [this](const HttpExchange& exchange) { log(exchange); };
  http_options.on_trouble = [this](std::string_view text) {
    if (service.options.log && service.options.log_connections) service.options.log(text);
  };
  MOXIE_TRY(http, HttpServer::start(std::move(http_options)));
  service.connections = [this] { return http->connections(); };
  url = fmt::format("{}://{}", options.tls_key.empty() ? "http" : "https", http->address());
  return {};
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(Engine& engine, ServerOptions options) {
  auto impl = std::make_unique<Impl>(engine, std::move(options));
  MOXIE_TRY_VOID(impl->start());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::string& Server::url() const {
  return impl_->url;
}

const std::string& Server::model_id() const {
  return impl_->service.model_id;
}

std::string Server::chat_form() const {
  const auto& prompts = impl_->service.prompts;
  return prompts ? fmt::format("{} ({})", prompts->form(), prompts->why()) : "none, the model carries no tokenizer";
}

int Server::drain(double seconds, const std::atomic<bool>& hurry) {
  impl_->service.draining = true;
  const int left = impl_->http->drain(std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)), &hurry);
  if (left > 0) {
    impl_->service.scheduler->drain(0);
    // What was cancelled still gets its last bytes.
    impl_->http->drain(std::chrono::milliseconds(500));
  }
  return left;
}

}  // namespace moxie::server

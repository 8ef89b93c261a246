#include "server/server.h"

#include <algorithm>
#include <thread>

#include "core/fail.h"
#include "server/endpoint.h"
#include "server/fields.h"
#include "server/model_host.h"
#include "server/request_log.h"
#include "server/service.h"
#include "server/worker_pool.h"

namespace moxie::server {
namespace {

using SharedExchange = std::shared_ptr<HttpExchange>;

constexpr size_t kTasksMax = 512;

// The model that a body names; empty: none. Errors: those of body_json; invalid_argument.
Result<std::string> model_of(const HttpRequest& request) {
  MOXIE_TRY(const Json body, body_json(request));
  Fields fields(body);
  std::string model;
  fields.text("model", model);
  MOXIE_TRY_VOID(fields.done());
  return model;
}

// The model cannot be opened. What is wrong with it stays wrong, so that the status is none that clients try again.
RequestError not_opened(const ServerState& server, Error error) {
  RequestError made{.error = std::move(error)};
  switch (made.error.code) {
    case ErrorCode::unavailable:
      made.status = server.draining ? 503 : 429;
      made.headers = {{"Retry-After", "5"}};
      return made;
    case ErrorCode::cancelled:
    case ErrorCode::io:
    case ErrorCode::internal:
      return made;
    default:
      made.status = 400;
      made.code = made.error.diagnosis != nullptr ? made.error.diagnosis->code : "model_not_opened";
      return made;
  }
}

}  // namespace

struct Server::Impl {
  ServerState state;
  std::string url;
  std::unique_ptr<WorkerPool> workers;
  std::unique_ptr<HttpServer> http;

  explicit Impl(ServerOptions options) : state(std::move(options)) {}
  ~Impl();

  Result<void> start(ModelSource source);
  HttpResponse refuse(const Access& access, const HttpRequest& request, int status, std::string_view message);
  std::optional<HttpResponse> admit(const Access& access, const HttpRequest& request);
  void handle(const Access& access, const SharedExchange& exchange);
  void post(const SharedExchange& exchange, std::function<void()> task);
  void look(const EndpointEntry& entry, const SharedExchange& exchange);
  void find_model(const EndpointEntry& entry, const SharedExchange& exchange);
  void answer(const EndpointEntry& entry, const ServiceLease& service, const SharedExchange& exchange);
  void log(const HttpExchange& exchange);
  void end_requests();
};

Server::Impl::~Impl() {
  // From the outside in: no requests, then no work for those that are left.
  if (state.models) state.models->end();
  end_requests();
  http.reset();
  workers.reset();
  state.models.reset();
}

void Server::Impl::end_requests() {
  if (!state.models) return;
  if (const ServiceLease service = state.models->current()) service->scheduler->drain(0);
}

HttpResponse Server::Impl::refuse(const Access& access, const HttpRequest& request, int status,
                                  std::string_view message) {
  ++state.counts.refused;
  HttpResponse response =
      refusal(request, {.error = {ErrorCode::invalid_argument, std::string(message)}, .status = status});
  for (auto& header : access.cors_headers(request, false)) response.headers.push_back(std::move(header));
  return response;
}

// By the head of a request alone. Runs on the network thread.
std::optional<HttpResponse> Server::Impl::admit(const Access& access, const HttpRequest& request) {
  const Route route = find_endpoint(request.method, request.path);
  if (const auto refusal = access.check(request, route.entry != nullptr && route.entry->open)) {
    return refuse(access, request, refusal->status, refusal->message);
  }
  if (request.method == "OPTIONS") {
    return HttpResponse{.status = 204, .content_type = "", .headers = access.cors_headers(request, true)};
  }
  if (route.entry == nullptr && route.other_method) {
    return refuse(access, request, 405, fmt::format("{} is not for {}", request.path.substr(0, 100), request.method));
  }
  if (route.entry == nullptr) return refuse(access, request, 404, "File Not Found");
  return std::nullopt;
}

// Runs on the network thread.
void Server::Impl::handle(const Access& access, const SharedExchange& exchange) {
  ++state.counts.requests;
  const HttpRequest& request = exchange->request();
  exchange->set_common_headers(access.cors_headers(request, false));
  const EndpointEntry* entry = find_endpoint(request.method, request.path).entry;
  if (entry == nullptr) return exchange->respond(error_response(404, "File Not Found"));
  if (entry->immediate) return look(*entry, exchange);
  if (entry->look != nullptr) return post(exchange, [this, entry, exchange] { look(*entry, exchange); });
  if (!state.models->is_fixed()) return post(exchange, [this, entry, exchange] { find_model(*entry, exchange); });
  ServiceLease service = state.models->current();
  if (service == nullptr) return exchange->respond(loading_response(request));
  post(exchange, [this, entry, exchange, service = std::move(service)] { answer(*entry, service, exchange); });
}

void Server::Impl::post(const SharedExchange& exchange, std::function<void()> task) {
  if (workers->post(std::move(task))) return;
  exchange->respond(refusal(
      exchange->request(),
      {.error = fail(ErrorCode::unavailable, "too many requests wait to be read"), .headers = {{"Retry-After", "1"}}}));
}

void Server::Impl::look(const EndpointEntry& entry, const SharedExchange& exchange) {
  auto response = entry.look(state, exchange->request());
  exchange->respond(response.ok() ? *std::move(response)
                                  : refusal(exchange->request(), {.error = std::move(response).error()}));
}

// The body is read for the name of the model here, and again by whoever answers: it may wait for long in between, and
// takes less memory as text.
void Server::Impl::find_model(const EndpointEntry& entry, const SharedExchange& exchange) {
  const auto name = model_of(exchange->request());
  if (!name.ok()) return exchange->respond(refusal(exchange->request(), {.error = name.error()}));
  auto model = state.models->find(*name);
  if (!model.ok()) return exchange->respond(refusal(exchange->request(), {.error = std::move(model).error()}));
  state.models->ask(
      std::move(model).value(), [exchange] { return !exchange->gone(); },
      [this, &entry, exchange](Result<ServiceLease> opened) {
        if (!opened.ok()) {
          return exchange->respond(refusal(exchange->request(), not_opened(state, std::move(opened).error())));
        }
        post(exchange,
             [this, &entry, exchange, service = std::move(opened).value()] { answer(entry, service, exchange); });
      });
}

void Server::Impl::answer(const EndpointEntry& entry, const ServiceLease& service, const SharedExchange& exchange) {
  if (entry.handle != nullptr) return entry.handle(service, exchange);
  auto response = entry.answer(*service, exchange->request());
  exchange->respond(response.ok() ? *std::move(response)
                                  : refusal(exchange->request(), {.error = std::move(response).error()}));
}

void Server::Impl::log(const HttpExchange& exchange) {
  const int status = exchange.status();
  if (status >= 500) ++state.counts.errors;
  if (!state.options.log) return;
  const HttpRequest& request = exchange.request();
  const RequestFacts facts = {.time = time_text(),
                              .seconds = std::chrono::duration<double>(Clock::now() - request.arrived).count(),
                              .status = status,
                              .bytes = exchange.bytes_sent()};
  state.options.log(request_line(request, exchange.notes(), facts, state.options.log_json));
}

Result<void> Server::Impl::start(ModelSource source) {
  ServerOptions& options = state.options;
  MOXIE_TRY_VOID(Scheduler::check(options.scheduler));  // not only once a model is open
  // As many as the scheduler takes of a model that does nothing yet.
  const int queue_limit = options.scheduler.queue_limit + options.scheduler.parallel;
  state.models = std::make_unique<ModelHost>(state, std::move(source), queue_limit);
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
  http_options.refuse = [this, access](const HttpRequest& request, int status, std::string_view message) {
    return refuse(*access, request, status, message);
  };
  http_options.handle = [this, access](const SharedExchange& exchange) { handle(*access, exchange); };
  http_options.on_end = [this](const HttpExchange& exchange) { log(exchange); };
  http_options.on_trouble = [this](std::string_view text) {
    if (state.options.log && state.options.log_connections) state.options.log(text);
  };
  MOXIE_TRY(http, HttpServer::start(std::move(http_options)));
  state.http = http.get();
  url = fmt::format("{}://{}", options.tls_key.empty() ? "http" : "https", http->address());
  return {};
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, ModelSource source) {
  auto impl = std::make_unique<Impl>(std::move(options));
  MOXIE_TRY_VOID(impl->start(std::move(source)));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Result<Server::OpenModel> Server::open() {
  MOXIE_TRY(const ServiceLease service, impl_->state.models->open_only());
  const auto& prompts = service->prompts;
  return OpenModel{.engine = &service->engine,
                   .id = service->model_id,
                   .chat_form = prompts ? fmt::format("{} ({})", prompts->form(), prompts->why())
                                        : "none, the model carries no tokenizer"};
}

const std::string& Server::url() const {
  return impl_->url;
}

int Server::drain(double seconds, const std::atomic<bool>& hurry) {
  impl_->state.draining = true;
  impl_->state.models->stop();
  const int left = impl_->http->drain(std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)), &hurry);
  if (left > 0) {
    impl_->end_requests();
    // What was cancelled still gets its last bytes.
    impl_->http->drain(std::chrono::milliseconds(500));
  }
  return left;
}

}  // namespace moxie::server

#include "server/http_server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdarg>
#include <cstring>
#include <list>
#include <mutex>
#include <thread>

#include "core/ascii.h"
#include "core/fail.h"
#include "server/listen_socket.h"

namespace moxie::server {
namespace {

constexpr std::chrono::milliseconds kWatchInterval{50}, kIdleWatchInterval{250};

struct Connection {
  enum class State { waiting, head, body, active };
  int fd = -1;
  State state = State::waiting;
  Clock::time_point since = Clock::now();
  bool shut = false;
};

// What a request needs while libmicrohttpd has it.
struct Arrival {
  std::shared_ptr<HttpExchange> exchange;
  Connection* connection = nullptr;
  std::optional<HttpResponse> refusal;  // known before the body has arrived
  size_t received = 0;
  bool handed_out = false;
};

MHD_Result collect_headers(void* to, MHD_ValueKind, const char* name, const char* value) {
  auto& headers = *static_cast<decltype(HttpRequest::headers)*>(to);
  headers.emplace(ascii_lower(name), value != nullptr ? value : "");
  return MHD_YES;
}

MHD_Result collect_arguments(void* to, MHD_ValueKind, const char* name, const char* value) {
  static_cast<decltype(HttpRequest::arguments)*>(to)->emplace(name, value != nullptr ? value : "");
  return MHD_YES;
}

std::string client_address(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  if (info == nullptr || info->client_addr == nullptr) return "";
  char text[INET6_ADDRSTRLEN] = {};
  if (info->client_addr->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(info->client_addr)->sin_addr, text, sizeof text);
  } else if (info->client_addr->sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(info->client_addr)->sin6_addr, text, sizeof text);
  }
  return text;
}

// Holds the exchange as long as libmicrohttpd reads from it.
struct Body {
  std::shared_ptr<HttpExchange> exchange;
};

ssize_t read_body(void* body, uint64_t, char* to, size_t most) {
  const int64_t count = static_cast<Body*>(body)->exchange->take_bytes(to, most);
  if (count == HttpExchange::kEnd) return MHD_CONTENT_READER_END_OF_STREAM;
  if (count == HttpExchange::kBroken) return MHD_CONTENT_READER_END_WITH_ERROR;
  return static_cast<ssize_t>(count);
}

void free_body(void* body) {
  delete static_cast<Body*>(body);
}

}  // namespace

struct HttpServer::Impl {
  HttpServerOptions options;
  ListenSocket socket;
  MHD_Daemon* daemon = nullptr;

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::list<Connection> connections;
  std::list<Arrival*> arrivals;  // those handed out
  size_t body_bytes = 0;         // of all requests on their way in
  bool draining = false, stopping = false;
  uint64_t ids = 0, id_base = 0;
  std::thread watcher;

  ~Impl() { stop(); }

  Result<void> start();
  void stop();

  // ---- called by libmicrohttpd, on its thread ----
  static void on_connection(void* self, MHD_Connection* connection, void** context,
                            MHD_ConnectionNotificationCode code);
  static void* on_line(void* self, const char* uri, MHD_Connection* connection);
  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url, const char* method,
                               const char* version, const char* data, size_t* size, void** context);
  static void on_completed(void* self, MHD_Connection* connection, void** context, MHD_RequestTerminationCode code);
  static void on_log(void* self, const char* format, va_list arguments);

  HttpResponse refuse(const HttpRequest& request, int status, std::string_view message, HttpHeaders headers) const;
  HttpResponse shutting_down(const HttpRequest& request) const;
  Arrival* begin_request(MHD_Connection* connection, const char* url, const char* method);
  bool reserve_body(size_t count);
  MHD_Result receive(Arrival& arrival, const char* data, size_t* size);
  MHD_Result answer(Arrival& arrival, MHD_Connection* connection);
  MHD_Result send(MHD_Connection* connection, const std::shared_ptr<HttpExchange>& exchange, HttpExchange::Ready ready);
  void make_room();
  bool take_on(Arrival& arrival);
  void give_back(Arrival& arrival);

  void watch();
  void sweep(Clock::time_point now);
};

namespace {

Connection* connection_of(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info == nullptr ? nullptr : static_cast<Connection*>(info->socket_context);
}

// The client has ended its side and everything it sent was read: what is not a request by now will be none.
// libmicrohttpd does not see the end where it comes together with the last bytes.
bool is_over(int fd) {
  pollfd look{.fd = fd, .events = POLLRDHUP, .revents = 0};
  if (poll(&look, 1, 0) <= 0 || (look.revents & POLLRDHUP) == 0) return false;
  char byte = 0;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

// REQUIRES: the server's mutex is held, so that the descriptor is still the connection's.
void shut(Connection& connection) {
  if (connection.shut) return;
  connection.shut = true;
  shutdown(connection.fd, SHUT_RDWR);
}

}  // namespace

void HttpServer::Impl::on_connection(void* self, MHD_Connection* connection, void** context,
                                     MHD_ConnectionNotificationCode code) {
  Impl& server = *static_cast<Impl*>(self);
  const std::lock_guard lock(server.mutex);
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    server.connections.push_back({.fd = info != nullptr ? info->connect_fd : -1});
    *context = &server.connections.back();
    server.make_room();
    server.changed.notify_one();
    return;
  }
  const auto* closed = static_cast<Connection*>(*context);
  server.connections.remove_if([closed](const Connection& candidate) { return &candidate == closed; });
  *context = nullptr;
}

// Beyond the limit the connection goes that has been without a request for longest. REQUIRES: mutex is held.
void HttpServer::Impl::make_room() {
  if (connections.size() <= static_cast<size_t>(options.limits.connections)) return;
  Connection* oldest = nullptr;
  for (Connection& candidate : connections) {
    if (candidate.state == Connection::State::active || candidate.shut) continue;
    if (oldest == nullptr || candidate.since < oldest->since) oldest = &candidate;
  }
  if (oldest != nullptr) shut(*oldest);
}

void* HttpServer::Impl::on_line(void* self, const char*, MHD_Connection* connection) {
  Impl& server = *static_cast<Impl*>(self);
  const std::lock_guard lock(server.mutex);
  if (Connection* known = connection_of(connection)) {
    known->state = Connection::State::head;
    known->since = Clock::now();
  }
  return nullptr;
}

HttpResponse HttpServer::Impl::refuse(const HttpRequest& request, int status, std::string_view message,
                                      HttpHeaders headers) const {
  HttpResponse response = options.refuse ? options.refuse(request, status, message)
                                         : HttpResponse{.status = status, .body = std::string(message)};
  for (auto& header : headers) response.headers.push_back(std::move(header));
  return response;
}

HttpResponse HttpServer::Impl::shutting_down(const HttpRequest& request) const {
  return refuse(request, 503, "the server is shutting down", {{"Connection", "close"}, {"Retry-After", "5"}});
}

Arrival* HttpServer::Impl::begin_request(MHD_Connection* connection, const char* url, const char* method) {
  HttpRequest request;
  request.method = method;
  request.path = url;
  request.client = client_address(connection);
  request.arrived = Clock::now();
  MHD_get_connection_values(connection, MHD_HEADER_KIND, collect_headers, &request.headers);
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, collect_arguments, &request.arguments);
  auto arrival = std::make_unique<Arrival>();
  bool ending = false;
  {
    const std::lock_guard lock(mutex);
    request.id = fmt::format("req-{:08x}{:06x}", id_base & 0xFFFFFFFFu, ++ids);
    arrival->connection = connection_of(connection);
    if (arrival->connection != nullptr) {
      arrival->connection->state = Connection::State::body;
      arrival->connection->since = Clock::now();
    }
    ending = draining;
  }
  if (ending) arrival->refusal = shutting_down(request);
  const std::string_view length = request.header("content-length");
  if (!arrival->refusal && options.admit) arrival->refusal = options.admit(request);
  if (!arrival->refusal && !length.empty()) {
    const uint64_t bytes = std::strtoull(std::string(length).c_str(), nullptr, 10);
    if (bytes > options.limits.body_bytes) {
      arrival->refusal = refuse(
          request, 413,
          fmt::format("the body has {} bytes, which is more than the limit of {}", bytes, options.limits.body_bytes),
          {});
    }
  }
  arrival->exchange = std::make_shared<HttpExchange>(std::move(request));
  arrival->exchange->attach({.suspend = [connection] { MHD_suspend_connection(connection); },
                             .resume = [connection] { MHD_resume_connection(connection); }});
  return arrival.release();
}

// False: all requests together would take more than they may.
bool HttpServer::Impl::reserve_body(size_t count) {
  const std::lock_guard lock(mutex);
  if (body_bytes + count > options.limits.all_bodies_bytes) return false;
  body_bytes += count;
  return true;
}

MHD_Result HttpServer::Impl::receive(Arrival& arrival, const char* data, size_t* size) {
  const size_t count = *size;
  *size = 0;
  arrival.received += count;
  if (arrival.refusal) {
    // The rest is read so that the client, which writes before it reads, gets the response; but not without end.
    return arrival.received <= 4 * options.limits.body_bytes ? MHD_YES : MHD_NO;
  }
  std::string& body = arrival.exchange->mutable_request().body;
  const HttpRequest& request = arrival.exchange->request();
  if (arrival.received > options.limits.body_bytes) {
    arrival.refusal = refuse(
        request, 413, fmt::format("the body is larger than the limit of {} bytes", options.limits.body_bytes), {});
  } else if (!reserve_body(count)) {
    arrival.refusal = refuse(request, 503, "too many large requests at once", {{"Retry-After", "1"}});
  }
  if (arrival.refusal) {
    give_back(arrival);
    std::string().swap(body);
  } else {
    body.append(data, count);
  }
  return MHD_YES;
}

// False: too late, the server is stopping.
bool HttpServer::Impl::take_on(Arrival& arrival) {
  give_back(arrival);
  const std::lock_guard lock(mutex);
  if (stopping) return false;
  if (arrival.connection != nullptr) arrival.connection->state = Connection::State::active;
  arrivals.push_back(&arrival);
  changed.notify_one();
  return true;
}

void HttpServer::Impl::give_back(Arrival& arrival) {
  const std::lock_guard lock(mutex);
  body_bytes -= std::min(body_bytes, arrival.exchange->request().body.size());
}

MHD_Result HttpServer::Impl::on_request(void* self, MHD_Connection* connection, const char* url, const char* method,
                                        const char*, const char* data, size_t* size, void** context) {
  Impl& server = *static_cast<Impl*>(self);
  if (*context == nullptr) {
    Arrival* arrival = server.begin_request(connection, url, method);
    *context = arrival;
    // A client that asks before it sends its body gets the refusal instead of a leave.
    const HttpRequest& request = arrival->exchange->request();
    if (arrival->refusal && ascii_lower(request.header("expect")) == "100-continue") {
      arrival->exchange->respond(std::move(*arrival->refusal));
      return server.answer(*arrival, connection);
    }
    return MHD_YES;
  }
  Arrival& arrival = *static_cast<Arrival*>(*context);
  if (*size != 0) return server.receive(arrival, data, size);
  if (!arrival.handed_out) {
    arrival.handed_out = true;
    arrival.exchange->mutable_request().arrived = Clock::now();
    if (arrival.refusal) {
      arrival.exchange->respond(std::move(*arrival.refusal));
    } else if (server.take_on(arrival)) {
      server.options.handle(arrival.exchange);
    } else {
      arrival.exchange->respond(server.shutting_down(arrival.exchange->request()));
    }
  }
  return server.answer(arrival, connection);
}

MHD_Result HttpServer::Impl::answer(Arrival& arrival, MHD_Connection* connection) {
  HttpExchange::Ready ready;
  switch (arrival.exchange->take_response(ready)) {
    case HttpExchange::Wait::suspended:
      return MHD_YES;
    case HttpExchange::Wait::gone:
      return MHD_NO;
    case HttpExchange::Wait::ready:
      break;
  }
  return send(connection, arrival.exchange, std::move(ready));
}

MHD_Result HttpServer::Impl::send(MHD_Connection* connection, const std::shared_ptr<HttpExchange>& exchange,
                                  HttpExchange::Ready ready) {
  MHD_Response* response = nullptr;
  if (ready.streamed) {
    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_body, new Body{exchange}, free_body);
  } else {
    response =
        MHD_create_response_from_buffer(ready.response.body.size(), ready.response.body.data(), MHD_RESPMEM_MUST_COPY);
  }
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, "Server", "moxie");
  MHD_add_response_header(response, "X-Request-Id", exchange->request().id.c_str());
  if (!ready.response.content_type.empty()) {
    MHD_add_response_header(response, "Content-Type", ready.response.content_type.c_str());
  }
  for (const auto& [name, value] : ready.response.headers) {
    MHD_add_response_header(response, name.c_str(), value.c_str());
  }
  const MHD_Result queued = MHD_queue_response(connection, static_cast<unsigned>(ready.response.status), response);
  MHD_destroy_response(response);
  return queued;
}

void HttpServer::Impl::on_completed(void* self, MHD_Connection*, void** context, MHD_RequestTerminationCode) {
  if (*context == nullptr) return;
  Impl& server = *static_cast<Impl*>(self);
  const std::unique_ptr<Arrival> arrival(static_cast<Arrival*>(*context));
  *context = nullptr;
  if (!arrival->handed_out) server.give_back(*arrival);
  {
    const std::lock_guard lock(server.mutex);
    server.arrivals.remove(arrival.get());
    if (arrival->connection != nullptr) {
      arrival->connection->state = Connection::State::waiting;
      arrival->connection->since = Clock::now();
    }
    server.changed.notify_all();
  }
  arrival->exchange->close(true);
  if (server.options.on_end) server.options.on_end(*arrival->exchange);
}

void HttpServer::Impl::on_log(void* self, const char* format, va_list arguments) {
  const Impl& server = *static_cast<const Impl*>(self);
  if (!server.options.on_trouble) return;
  char text[512];
  const int length = std::vsnprintf(text, sizeof text, format, arguments);
  if (length <= 0) return;
  std::string_view line(text, std::min<size_t>(static_cast<size_t>(length), sizeof text - 1));
  while (line.ends_with('\n')) line.remove_suffix(1);
  server.options.on_trouble(line);
}

// Clients that wait for a response are looked at: libmicrohttpd does not while their connection is suspended.
void HttpServer::Impl::sweep(Clock::time_point now) {
  std::vector<std::shared_ptr<HttpExchange>> waiting;
  std::vector<pollfd> descriptors;
  {
    const std::lock_guard lock(mutex);
    const HttpLimits& limits = options.limits;
    for (Connection& connection : connections) {
      const auto age = now - connection.since;
      const bool late = (connection.state == Connection::State::waiting && age > limits.idle) ||
                        (connection.state == Connection::State::head && age > limits.arrival) ||
                        (connection.state == Connection::State::body && age > limits.body);
      if (late || (connection.state != Connection::State::active && is_over(connection.fd))) shut(connection);
    }
    for (const Arrival* arrival : arrivals) {
      waiting.push_back(arrival->exchange);
      descriptors.push_back({.fd = arrival->connection != nullptr ? arrival->connection->fd : -1, .events = POLLRDHUP});
    }
  }
  if (poll(descriptors.data(), descriptors.size(), 0) > 0) {
    // A descriptor that was closed and used again meanwhile belongs to an exchange that is closed already.
    for (size_t i = 0; i < descriptors.size(); ++i) {
      if ((descriptors[i].revents & (POLLRDHUP | POLLERR | POLLHUP | POLLNVAL)) != 0) waiting[i]->close(false);
    }
  }
  for (const auto& exchange : waiting) exchange->tick(now);
}

void HttpServer::Impl::watch() {
  std::unique_lock lock(mutex);
  while (!stopping) {
    const auto interval = arrivals.empty() ? kIdleWatchInterval : kWatchInterval;
    changed.wait_for(lock, interval, [&, idle = arrivals.empty()] { return stopping || (idle && !arrivals.empty()); });
    lock.unlock();
    sweep(Clock::now());
    lock.lock();
  }
}

Result<void> HttpServer::Impl::start() {
  MOXIE_TRY(socket, listen_on(options.host, options.port));
  if (getrandom(&id_base, sizeof id_base, 0) != sizeof id_base) id_base = static_cast<uint64_t>(getpid());
  unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
  std::vector<MHD_OptionItem> items = {
      {MHD_OPTION_LISTEN_SOCKET, socket.fd, nullptr},
      // Some more than the limit, so that a new connection is accepted and an idle one can go for it.
      {MHD_OPTION_CONNECTION_LIMIT, options.limits.connections + 64, nullptr},
      {MHD_OPTION_CONNECTION_TIMEOUT, options.limits.stalled.count(), nullptr},
      {MHD_OPTION_CONNECTION_MEMORY_LIMIT, static_cast<intptr_t>(options.limits.header_bytes), nullptr},
      {MHD_OPTION_STRICT_FOR_CLIENT, 1, nullptr},
  };
  if (!options.tls_key.empty()) {
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
      close(socket.fd);
      return fail(ErrorCode::unsupported, "this libmicrohttpd was built without TLS; put a proxy before the server");
    }
    flags |= MHD_USE_TLS;
    items.push_back({MHD_OPTION_HTTPS_MEM_KEY, 0, options.tls_key.data()});
    items.push_back({MHD_OPTION_HTTPS_MEM_CERT, 0, options.tls_certificate.data()});
  }
  items.push_back({MHD_OPTION_END, 0, nullptr});
  daemon = MHD_start_daemon(flags, static_cast<uint16_t>(socket.port), nullptr, nullptr, &Impl::on_request, this,
                            MHD_OPTION_EXTERNAL_LOGGER, &Impl::on_log, this,           //
                            MHD_OPTION_NOTIFY_CONNECTION, &Impl::on_connection, this,  //
                            MHD_OPTION_URI_LOG_CALLBACK, &Impl::on_line, this,         //
                            MHD_OPTION_NOTIFY_COMPLETED, &Impl::on_completed, this,    //
                            MHD_OPTION_ARRAY, items.data(), MHD_OPTION_END);
  if (daemon == nullptr) {
    close(socket.fd);
    return fail(ErrorCode::io, "the HTTP server does not start{}",
                options.tls_key.empty() ? "" : "; look at --ssl-key-file and --ssl-cert-file, which want PEM texts");
  }
  watcher = std::thread([this] { watch(); });
  return {};
}

void HttpServer::Impl::stop() {
  std::vector<std::shared_ptr<HttpExchange>> left;
  {
    const std::lock_guard lock(mutex);
    draining = stopping = true;
    for (const Arrival* arrival : arrivals) left.push_back(arrival->exchange);
  }
  changed.notify_all();
  if (watcher.joinable()) watcher.join();
  // No connection may be suspended when the daemon stops. What is handed out from here on is refused at once.
  for (const auto& exchange : left) exchange->close(false);
  if (daemon != nullptr) {
    MHD_stop_daemon(daemon);
    daemon = nullptr;
  }
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  MOXIE_TRY_VOID(impl->start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

int HttpServer::port() const {
  return impl_->socket.port;
}

std::string HttpServer::address() const {
  return impl_->socket.address;
}

int HttpServer::connections() const {
  const std::lock_guard lock(impl_->mutex);
  return static_cast<int>(impl_->connections.size());
}

int HttpServer::active_requests() const {
  const std::lock_guard lock(impl_->mutex);
  return static_cast<int>(impl_->arrivals.size());
}

int HttpServer::drain(std::chrono::milliseconds patience, const std::atomic<bool>* hurry) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (!impl_->draining) {
      impl_->draining = true;
      const MHD_socket listening = MHD_quiesce_daemon(impl_->daemon);
      if (listening != MHD_INVALID_SOCKET) close(listening);
    }
  }
  const auto end = Clock::now() + patience;
  std::unique_lock lock(impl_->mutex);
  while (!impl_->arrivals.empty() && Clock::now() < end && !(hurry != nullptr && hurry->load())) {
    impl_->changed.wait_for(lock, kWatchInterval);
  }
  return static_cast<int>(impl_->arrivals.size());
}

}  // namespace moxie::server

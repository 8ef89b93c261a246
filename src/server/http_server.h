// The network side: connections, HTTP and TLS by libmicrohttpd on one thread that only does input and output, and a
// second one that watches clients that wait for an answer. Nothing a client sends or leaves out can hold either of them
// up: connections, bytes and time are bounded.
//
// admit() and immediate handlers run on the first thread and must return at once.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "moxie/error.h"
#include "server/http_exchange.h"

namespace moxie::server {

struct HttpLimits {
  int connections = 512;
  size_t header_bytes = size_t{64} << 10;       // of one request, with its line
  size_t body_bytes = size_t{16} << 20;         // of one request
  size_t all_bodies_bytes = size_t{128} << 20;  // of all requests that are on their way in
  std::chrono::seconds arrival{30};             // from the first byte of a request to the last of its headers
  std::chrono::seconds body{120};               // and to the last of its body
  std::chrono::seconds idle{75};                // a connection between two requests
  std::chrono::seconds stalled{600};            // a client that takes nothing of its response
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;                       // 0: any free one
  std::string tls_key, tls_certificate;  // PEM texts; both or none
  HttpLimits limits;
  // A response that refuses a request by its head; nullopt: go on.
  std::function<std::optional<HttpResponse>(const HttpRequest&)> admit;
  // A response to a request that is too large, or comes too late.
  std::function<HttpResponse(const HttpRequest& request, int status, std::string_view message)> refuse;
  // Takes a whole request.
  std::function<void(const std::shared_ptr<HttpExchange>&)> handle;
  // The request is over, its response sent or not.
  std::function<void(const HttpExchange&)> on_end;
  // What goes wrong below requests: a connection refused for too many, bad TLS.
  std::function<void(std::string_view)> on_trouble;
};

class HttpServer {
 public:
  // Listens and begins to answer. Errors: unavailable, the port is taken; invalid_argument, such as no such host;
  // unsupported, no TLS in this libmicrohttpd.
  static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options);
  ~HttpServer();

  int port() const;
  std::string address() const;  // "127.0.0.1:8080"
  int connections() const;
  int active_requests() const;

  // Accepts no more connections and refuses new requests; waits until those under way are done, at most `patience`.
  // Returns how many were still going.
  int drain(std::chrono::milliseconds patience, const std::atomic<bool>* hurry = nullptr);

  struct Impl;

 private:
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace moxie::server

// One request and its response, between the thread that does the network's input and output and the threads that make
// the response. Thread-safe.
//
// Whoever handles a request holds a shared pointer to its exchange and either calls respond() once, or begin_stream(),
// write()... and end_stream(). All of them return at once: bytes wait in the exchange until the client takes them. When
// the client goes away on_gone's function is called; when more than kWaitingBytesMax would wait for it, write() fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moxie::server {

using Clock = std::chrono::steady_clock;

struct HttpRequest {
  std::string id;                                             // "req-..."; returned in the header X-Request-Id
  std::string method;                                         // "GET"
  std::string path;                                           // decoded, without the query
  std::string client;                                         // address
  std::map<std::string, std::string, std::less<>> headers;    // names in lower case
  std::map<std::string, std::string, std::less<>> arguments;  // of the query, decoded
  std::string body;
  Clock::time_point arrived;  // the whole of it

  std::string_view header(std::string_view lower_case_name) const;  // empty: absent
  std::string_view argument(std::string_view name) const;           // likewise
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json; charset=utf-8";
  HttpHeaders headers;
};

// What a log line says about a request beside its HTTP side.
struct RequestNotes {
  int64_t prompt_tokens = -1, cached_tokens = -1, generated_tokens = -1;
  double prompt_ms = 0, generated_ms = 0;
  std::string outcome;  // "stop", "length", "cancelled"; or why it failed
};

class HttpExchange {
 public:
  static constexpr size_t kWaitingBytesMax = size_t{1} << 20;

  explicit HttpExchange(HttpRequest request) : request_(std::move(request)) {}

  const HttpRequest& request() const { return request_; }

  // Headers that every response to this request has.
  void set_common_headers(HttpHeaders headers);
  // The second response to one exchange is dropped.
  void respond(HttpResponse response);
  // Sends the status and headers of a response that comes in pieces.
  void begin_stream(HttpResponse head);
  // False: the client is gone, nobody will read this. It does not call on_gone's function, which may be waiting for the
  // caller.
  bool write(std::string_view bytes);
  void end_stream();
  // Ends a stream so that the client sees that it is incomplete.
  void abort_stream();

  // Called once if the client goes before the response is complete: at once if it has gone already.
  void on_gone(std::function<void()> function);
  // Called whenever no byte was written for `interval`, until the response is complete; from a thread of the server.
  void on_idle(std::chrono::milliseconds interval, std::function<void()> function);
  bool gone() const;

  RequestNotes notes() const;
  void set_notes(RequestNotes notes);

  // ---- for the network side (http_server.cpp) ----

  struct Network {
    std::function<void()> suspend, resume;  // of the connection
  };
  // Before the exchange is handed out.
  HttpRequest& mutable_request() { return request_; }
  void attach(Network network);
  // Asks for the response, whole or the head of a stream; where there is none, suspends the connection until there is.
  struct Ready {
    HttpResponse response;
    bool streamed = false;
  };
  enum class Wait { ready, suspended, gone };
  Wait take_response(Ready& ready);
  // Bytes of a stream: how many were copied; kEnd, kBroken or 0 when it suspended the connection.
  static constexpr int64_t kEnd = -1, kBroken = -2;
  int64_t take_bytes(char* to, size_t most);
  // The client went away; or, with `complete`, has everything. Resumes the connection so that it can be closed.
  void close(bool complete);
  void tick(Clock::time_point now);
  int status() const;
  uint64_t bytes_sent() const;

 private:
  enum class Phase { pending, responded, streaming, ended, broken };
  void wake();  // REQUIRES: mutex_ held

  HttpRequest request_;
  mutable std::mutex mutex_;
  Network network_;
  bool suspended_ = false;
  bool closed_ = false, gone_ = false;
  Phase phase_ = Phase::pending;
  bool head_taken_ = false;
  HttpResponse head_;
  HttpHeaders common_headers_;
  std::string waiting_;
  size_t taken_ = 0;  // of waiting_
  int status_ = 0;
  uint64_t bytes_sent_ = 0;
  std::function<void()> on_gone_, on_idle_;
  std::chrono::milliseconds idle_interval_{0};
  Clock::time_point last_write_ = Clock::now();
  RequestNotes notes_;
};

}  // namespace moxie::server

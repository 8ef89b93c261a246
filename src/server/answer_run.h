// One HTTP request that generates: it may hold several generations (n, several prompts), answers whole or as a stream,
// and ends all of them when its client goes. Thread-safe: the hooks are called one at a time.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/scheduler.h"
#include "server/http_exchange.h"
#include "server/service.h"

namespace moxie::server {

class AnswerRun : public std::enable_shared_from_this<AnswerRun> {
 public:
  AnswerRun(ServiceLease service, std::shared_ptr<HttpExchange> exchange, bool streams);
  virtual ~AnswerRun() = default;

  // Submits the generations, index by index. What cannot be computed becomes an error response at once.
  void start(std::vector<GenerateRequest> requests);

 protected:
  struct Generation {
    std::shared_ptr<RequestHandle> handle;
    bool ended = false;
    int64_t cached_tokens = 0;  // of the prompt, as far as it is known
    GenerateResult result;      // once ended
    RequestTimings timings;
  };

  // ---- hooks; what they append to `out` goes onto the stream ----
  virtual void begin(std::string& out) = 0;  // before anything else, with a stream only
  virtual void token(size_t index, const TokenStep& step, std::string& out) = 0;
  virtual void progress(size_t /*index*/, int64_t /*done*/, int64_t /*total*/, std::string& /*out*/) {}
  virtual void embedding(size_t /*index*/, std::span<const float> /*vector*/) {}
  virtual void ended(size_t index, std::string& out) = 0;
  virtual void finish(std::string& out) = 0;  // all have ended; without a stream it gives the body of the response
  virtual void fail_stream(const Error& error, std::string& out) = 0;  // after begin()
  virtual HttpResponse fail_response(const RequestError& error) = 0;   // before it

  Service& service() const { return *service_; }
  const HttpExchange& exchange() const { return *exchange_; }
  const std::vector<Generation>& generations() const { return generations_; }
  // llama.cpp's "timings" of one generation or of all, with the experts' figures.
  Json timings_json(size_t index) const;
  Json timings_json() const;
  // Sums over all.
  RequestTimings timings() const;

 private:
  struct Listener;
  void on_token(size_t index, const TokenStep& step);
  void on_progress(size_t index, int64_t done, int64_t total);
  void on_embedding(size_t index, std::span<const float> vector);
  void on_end(size_t index, const Result<GenerateResult>& result, const RequestTimings& timings);
  void on_idle();
  void cancel();

  // REQUIRE: mutex_ is held.
  void fail(const RequestError& error);
  void send(std::string& out);
  void stop_all();
  void note(std::string outcome);

  const ServiceLease service_;  // the model stays open until this is over
  const std::shared_ptr<HttpExchange> exchange_;
  const bool streams_;
  mutable std::mutex mutex_;
  std::vector<Generation> generations_;
  size_t ended_count_ = 0;
  bool begun_ = false, over_ = false, cancelled_ = false;
};

// The timings of llama.cpp's responses.
Json timings_json(const RequestTimings& timings, const ExpertStats& experts);

}  // namespace moxie::server

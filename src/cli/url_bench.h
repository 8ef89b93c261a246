// `moxie bench --url`: what a server that speaks OpenAI's API does, seen by its clients. Not thread-safe; it runs
// threads of its own for several clients at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hub/http_client.h"
#include "moxie/error.h"

namespace moxie::cli {

struct UrlBenchOptions {
  std::string url, model, api_key;  // model: empty: the first that the server lists
  int64_t prompt_tokens = 512;      // about; what the server counts is reported
  int64_t max_tokens = 64, repetitions = 5;
  std::vector<int64_t> clients = {1, 4, 16};
  bool tools = true;
  TrustedCertificates trusted = {};
};

// One answer.
struct UrlAnswer {
  double first_token_seconds = 0;
  double seconds = 0;         // until its end
  double tokens_per_s = 0;    // behind the first; 0: it has one token at most
  int64_t prompt_tokens = 0;  // as the server counts them; 0: it does not
  int64_t cached_tokens = 0, tokens = 0;
};

// Figures of one kind of request, one for each repetition, ascending.
struct UrlFigures {
  std::vector<double> first_token_seconds, tokens_per_s;
  int64_t prompt_tokens = 0, cached_tokens = 0, tokens = 0;  // of the last answer
};

struct UrlClients {
  int64_t clients = 0;
  std::vector<double> first_token_seconds;  // of every answer
  std::vector<double> tokens_per_s;         // of all clients together, one for each repetition
};

struct UrlToolCalls {
  int64_t asked = 0, well_formed = 0;
  std::vector<double> seconds;
  std::string problem;  // of the last call that was not well-formed
};

struct UrlReport {
  std::string url, model, version;
  int64_t repetitions = 0, max_tokens = 0;
  UrlFigures cold, repeated;
  UrlToolCalls tools;
  std::vector<UrlClients> clients;
  std::vector<std::string> notices;

  std::string markdown() const;
  std::string json() const;
};

// Errors: those of HTTP; unavailable for a server that refuses, with what it says.
Result<UrlReport> bench_url(const UrlBenchOptions& options, const std::atomic<bool>* cancelled);

// With "/v1" where it has no path, no slash at its end: "http://127.0.0.1:8080/v1".
std::string api_base(std::string url);

// Server-sent events from pieces of a body: the data of each, comments and names left out.
class EventReader {
 public:
  // Adds a piece; whole events go to `data`.
  void feed(std::string_view piece, std::vector<std::string>& data);

 private:
  std::string line_, data_;
  bool has_data_ = false;
};

}  // namespace moxie::cli

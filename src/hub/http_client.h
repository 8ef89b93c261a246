// HTTP requests over libcurl: redirects, a token that stays with its host, answers read piece by piece. The proxies are
// those of the environment (https_proxy, no_proxy, ...), as libcurl reads them. A client keeps its connections open and
// belongs to one thread; the flag that cancels may be set by any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moxie/error.h"

namespace moxie {

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string token;  // sent as "Authorization: Bearer"; after a redirect only to the same scheme, host and port
  std::string body;   // of a POST
  enum class Follow : uint8_t { none, relative, all } follow = Follow::all;  // which redirects
  int connect_seconds = 15;
  int silent_seconds = 30;  // without a byte, before the connection counts as broken; 0: wait for ever
};

struct HttpReply {
  int status = 0;
  std::string url;  // that answered, after redirects
  std::vector<std::pair<std::string, std::string>> headers;

  bool is_redirect() const { return status >= 301 && status <= 308 && status != 304 && status != 305 && status != 306; }
  std::string_view header(std::string_view name) const;  // whatever its case; empty where there is none
  // Where it redirects to, made absolute; empty where it does not.
  std::string location;
};

// Whose certificates are believed: those of a file or folder (PEM) in place of the system's. Both empty: the system's.
struct TrustedCertificates {
  std::string file, folder;
};

class HttpClient {
 public:
  // Takes the pieces of an answer's body as they come. An error ends the transfer and is what send() returns.
  using Sink = std::function<Result<void>(const HttpReply& reply, std::string_view piece)>;

  explicit HttpClient(const std::atomic<bool>* cancelled = nullptr, TrustedCertificates trusted = {});
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;
  ~HttpClient();

  // Any status is a reply. Errors: unavailable where the transfer failed (no connection, broken, silent too long: worth
  // another try), cancelled, invalid_argument for an address that is none, unsupported in a build without libcurl, and
  // those of the sink.
  Result<HttpReply> send(const HttpRequest& request, const Sink& sink);

  struct Text {
    HttpReply reply;
    std::string body;
  };
  // The whole body, which may have `bytes_max` bytes; more is unsupported.
  Result<Text> fetch(const HttpRequest& request, uint64_t bytes_max);

  static bool is_available();  // is libcurl part of this build?

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Errors: io where an encrypted address would lead to one that is not.
Result<void> check_encryption_stays(const std::string& from, const std::string& to);
// Do both addresses have the same scheme, host and port?
bool same_origin(const std::string& one, const std::string& other);
// With every byte but letters, digits and "-._~" as %XX; slashes stay where `keep_slashes`.
std::string url_encoded(std::string_view text, bool keep_slashes = false);
// Seconds of a Retry-After header; nothing where it is absent or a date.
std::optional<int> retry_after_seconds(const HttpReply& reply);

}  // namespace moxie

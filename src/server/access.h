// Who may use the server: API keys, the names it answers to, web pages that may ask. Immutable after create();
// thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"
#include "server/http_exchange.h"

namespace moxie::server {

struct AccessOptions {
  std::vector<std::string> keys;           // none: no key is asked for
  std::string host;                        // what the server listens on
  std::vector<std::string> allowed_hosts;  // further names in the Host header; "*": any
  std::vector<std::string> cors_origins;   // web pages that may ask, such as "https://example.org"; "*": any
};

// Keys of a file: one a line; blank lines and those that begin with # are skipped. Errors: a key with characters that
// no header can carry; none at all.
Result<std::vector<std::string>> keys_of_file(std::string_view text, const std::string& file);

class Access {
 public:
  explicit Access(AccessOptions options);

  struct Refusal {
    int status;
    std::string message;
  };
  // `open`: the route needs no key.
  std::optional<Refusal> check(const HttpRequest& request, bool open) const;
  // Headers that let a web page read the response; empty unless its origin may.
  HttpHeaders cors_headers(const HttpRequest& request, bool preflight) const;
  bool has_keys() const { return !options_.keys.empty(); }

 private:
  bool known_host(std::string_view host) const;
  bool allowed_origin(std::string_view origin) const;
  bool right_key(const HttpRequest& request) const;

  AccessOptions options_;
  std::vector<std::string> own_names_;
};

// Compares in time that depends on the lengths alone.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace moxie::server

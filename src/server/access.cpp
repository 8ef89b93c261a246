#include "server/access.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>

#include "core/ascii.h"
#include "core/fail.h"
#include "core/printable.h"

namespace moxie::server {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// "example.org:8080" and "[::1]:8080" without the port.
std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end == std::string_view::npos ? host : host.substr(1, end - 1);
  }
  return host.substr(0, host.find(':'));
}

bool is_address(const std::string& host) {
  in_addr four{};
  in6_addr six{};
  return inet_pton(AF_INET, host.c_str(), &four) == 1 || inet_pton(AF_INET6, host.c_str(), &six) == 1;
}

bool contains(const std::vector<std::string>& list, std::string_view value) {
  return std::any_of(list.begin(), list.end(),
                     [&](const std::string& entry) { return entry == "*" || entry == value; });
}

}  // namespace

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i] ^ other));
  }
  return difference == 0;
}

Result<std::vector<std::string>> keys_of_file(std::string_view text, const std::string& file) {
  std::vector<std::string> keys;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line.starts_with('#')) continue;
    if (std::any_of(line.begin(), line.end(), [](char c) { return c <= ' ' || c == '\x7f'; })) {
      return fail(ErrorCode::invalid_argument, "{}: a key has a blank or a control character in it; one key a line",
                  file);
    }
    keys.emplace_back(line);
  }
  if (keys.empty())
    return fail(ErrorCode::invalid_argument, "{} holds no key; leave --api-key-file out, or add one", file);
  return keys;
}

Access::Access(AccessOptions options) : options_(std::move(options)) {
  own_names_ = {"localhost", ascii_lower(options_.host)};
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) == 0 && name[0] != '\0') {
    own_names_.push_back(ascii_lower(name));
    own_names_.push_back(ascii_lower(name) + ".local");
  }
  for (std::string& host : options_.allowed_hosts) host = ascii_lower(host);
  for (std::string& origin : options_.cors_origins) origin = ascii_lower(origin);
}

// A web page can give its own name the address of this machine and then talk to the server as its own origin. What it
// cannot change is the name in the Host header.
bool Access::known_host(std::string_view header) const {
  const std::string host = ascii_lower(without_port(header));
  if (is_address(host) || host.ends_with(".localhost")) return true;
  if (std::find(own_names_.begin(), own_names_.end(), host) != own_names_.end()) return true;
  return contains(options_.allowed_hosts, host);
}

bool Access::allowed_origin(std::string_view origin) const {
  return contains(options_.cors_origins, ascii_lower(origin));
}

bool Access::right_key(const HttpRequest& request) const {
  constexpr std::string_view kBearer = "bearer ";
  std::string_view given = request.header("x-api-key");
  const std::string_view authorization = request.header("authorization");
  if (ascii_lower(authorization.substr(0, kBearer.size())) == kBearer)
    given = trimmed(authorization.substr(kBearer.size()));
  bool right = false;
  for (const std::string& key : options_.keys) right |= equal_in_constant_time(given, key);
  return right;
}

std::optional<Access::Refusal> Access::check(const HttpRequest& request, bool open) const {
  const std::string_view host = request.header("host");
  if (options_.keys.empty() && !host.empty() && !known_host(host)) {
    return Refusal{403,
                   fmt::format("the server does not answer to the name '{}'; allow it with --allowed-hosts, or set an "
                               "API key",
                               printable(host.substr(0, 100)))};
  }
  const std::string_view origin = request.header("origin");
  if (!origin.empty() && options_.keys.empty() && !allowed_origin(origin)) {
    // A page of the server's own is no stranger.
    const size_t scheme = origin.find("://");
    const bool own = scheme != std::string_view::npos && ascii_lower(origin.substr(scheme + 3)) == ascii_lower(host);
    if (!own) {
      return Refusal{403, fmt::format("web pages of '{}' may not use this server; allow them with --cors-origins",
                                      printable(origin.substr(0, 100)))};
    }
  }
  if (open || options_.keys.empty() || request.method == "OPTIONS" || right_key(request)) return std::nullopt;
  return Refusal{401, "Invalid API Key"};
}

HttpHeaders Access::cors_headers(const HttpRequest& request, bool preflight) const {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || !allowed_origin(origin)) return {};
  HttpHeaders headers = {{"Access-Control-Allow-Origin", std::string(origin)},
                         {"Vary", "Origin"},
                         {"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"}};
  if (preflight) {
    headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    // The official clients add headers of their own (X-Stainless-...), so what is asked for is allowed.
    const std::string_view wanted = request.header("access-control-request-headers");
    const bool plain = std::all_of(wanted.begin(), wanted.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
    headers.emplace_back(
        "Access-Control-Allow-Headers",
        wanted.empty() || !plain ? "Authorization, Content-Type, X-Api-Key, Anthropic-Version" : std::string(wanted));
    headers.emplace_back("Access-Control-Max-Age", "600");
  }
  return headers;
}

}  // namespace moxie::server

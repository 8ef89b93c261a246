#include "hub/http_client.h"

#include <algorithm>
#include <charconv>

#include "core/ascii.h"
#include "core/fail.h"
#include "core/printable.h"

#if MOXIE_CURL
#include <curl/curl.h>
#endif

namespace moxie {
namespace {

[[maybe_unused]] constexpr int kRedirectsMax = 8;

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return ascii_lower(x) == ascii_lower(y); });
}

// An address without its query, which may hold a signature.
std::string shown(const std::string& url) {
  return printable(url.substr(0, url.find('?')));
}

}  // namespace

Result<void> check_encryption_stays(const std::string& from, const std::string& to) {
  if (!from.starts_with("https:") || to.starts_with("https:")) return {};
  return fail(ErrorCode::io, "{}: redirects to {}, which is not encrypted: not followed", shown(from), shown(to));
}

std::string_view HttpReply::header(std::string_view name) const {
  for (auto entry = headers.rbegin(); entry != headers.rend(); ++entry) {
    if (same_name(entry->first, name)) return entry->second;
  }
  return {};
}

std::string url_encoded(std::string_view text, bool keep_slashes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos || (c == '/' && keep_slashes);
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

std::optional<int> retry_after_seconds(const HttpReply& reply) {
  const std::string_view text = reply.header("Retry-After");
  int seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || seconds < 0) return std::nullopt;
  return seconds;
}

#if MOXIE_CURL

namespace {

using CurlString = std::unique_ptr<char, decltype(&curl_free)>;
using CurlUrl = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;
using CurlList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

std::string url_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
  const CurlString held(text, &curl_free);
  return text;
}

// What libcurl's callbacks see of one exchange.
struct Exchange {
  const HttpClient::Sink& sink;
  const std::atomic<bool>* cancelled;
  CURL* curl;
  bool follow_all, follow_relative;
  HttpReply reply;
  std::optional<Error> failure;  // of the sink
  bool is_cancelled() const { return cancelled != nullptr && cancelled->load(); }
};

// A redirect that will be followed has a body nobody wants.
bool will_follow(const Exchange& exchange) {
  if (!exchange.reply.is_redirect()) return false;
  const std::string_view location = exchange.reply.header("Location");
  if (location.empty()) return false;
  return exchange.follow_all || (exchange.follow_relative && location.find("://") == std::string_view::npos);
}

size_t on_header(char* data, size_t, size_t bytes, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  std::string_view line(data, bytes);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // also after "100 Continue" and a proxy's answer: the last head counts
    exchange.reply.headers.clear();
    const size_t space = line.find(' ');
    exchange.reply.status = 0;
    if (space != std::string_view::npos)
      std::from_chars(line.data() + space + 1, line.data() + line.size(), exchange.reply.status);
    return bytes;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bytes;
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  constexpr size_t kHeadersMax = 500;
  if (exchange.reply.headers.size() < kHeadersMax)
    exchange.reply.headers.emplace_back(std::string(line.substr(0, colon)), std::string(value));
  return bytes;
}

size_t on_body(char* data, size_t, size_t bytes, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  if (will_follow(exchange)) return bytes;
  auto taken = exchange.sink(exchange.reply, std::string_view(data, bytes));
  if (taken.ok()) return bytes;
  exchange.failure = std::move(taken).error();
  return CURL_WRITEFUNC_ERROR;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const Exchange*>(user)->is_cancelled() ? 1 : 0;
}

}  // namespace

struct HttpClient::Impl {
  CURL* curl = nullptr;
  const std::atomic<bool>* cancelled = nullptr;
  const TrustedCertificates trusted;

  Impl(const std::atomic<bool>* cancelled_by, TrustedCertificates trusted_ones)
      : cancelled(cancelled_by), trusted(std::move(trusted_ones)) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready == CURLE_OK) curl = curl_easy_init();
  }
  ~Impl() {
    if (curl != nullptr) curl_easy_cleanup(curl);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  CurlList headers_of(const HttpRequest& request, bool with_token) const {
    CurlList list(nullptr, &curl_slist_free_all);
    const auto add = [&list](const std::string& line) {
      if (curl_slist* longer = curl_slist_append(list.get(), line.c_str())) {
        static_cast<void>(list.release());
        list.reset(longer);
      }
    };
    for (const auto& [name, value] : request.headers) add(name + ": " + value);
    if (with_token) add("Authorization: Bearer " + request.token);
    add("Expect:");  // no waiting for "100 Continue"
    return list;
  }

  // One exchange without following.
  Result<void> exchange_once(const HttpRequest& request, const std::string& url, bool with_token, Exchange& exchange) {
    curl_easy_reset(curl);
    const CurlList headers = headers_of(request, with_token);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "moxie/" MOXIE_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request.connect_seconds));
    if (!trusted.file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, trusted.file.c_str());
    if (!trusted.folder.empty()) curl_easy_setopt(curl, CURLOPT_CAPATH, trusted.folder.c_str());
    if (request.silent_seconds > 0) {
      curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
      curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.silent_seconds));
    }
    if (request.method == "HEAD") {
      curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (request.method == "POST") {
      curl_easy_setopt(curl, CURLOPT_POST, 1L);
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.c_str());
    } else if (request.method != "GET") {
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
    char reason[CURL_ERROR_SIZE] = {};
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);

    if (exchange.failure) return std::move(*exchange.failure);
    if (exchange.is_cancelled()) return fail(ErrorCode::cancelled, "{}: stopped", shown(url));
    if (code == CURLE_OK) {
      const char* next = nullptr;
      if (exchange.reply.is_redirect()) curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &next);
      exchange.reply.location = next == nullptr ? "" : next;
      exchange.reply.url = url;
      return {};
    }
    return failed(code, reason[0] != '\0' ? reason : curl_easy_strerror(code), shown(url));
  }

  // What will be the same the next time is not unavailable, so that nobody tries it again.
  Error failed(CURLcode code, std::string_view text, const std::string& url) const {
    switch (code) {
      case CURLE_URL_MALFORMAT:
      case CURLE_UNSUPPORTED_PROTOCOL:
        return fail(ErrorCode::invalid_argument, "{}: is no address of a web server: {}", url, text);
      case CURLE_PEER_FAILED_VERIFICATION:
        return fail(ErrorCode::io,
                    "{}: the server's certificate is not trusted: {}; check the clock and the package ca-certificates; "
                    "where a proxy of your organisation stands in between, name the file with its certificate in "
                    "SSL_CERT_FILE",
                    url, text);
      case CURLE_SSL_CACERT_BADFILE:
        return fail(ErrorCode::io,
                    "{}: the trusted certificates cannot be read from {}: {}; correct REQUESTS_CA_BUNDLE, "
                    "CURL_CA_BUNDLE or SSL_CERT_FILE, or unset it",
                    url, trusted.file.empty() ? "the system's place" : printable(trusted.file), text);
      case CURLE_COULDNT_RESOLVE_PROXY:
        return fail(ErrorCode::io, "{}: the proxy of the environment is not found: {}; correct https_proxy or unset it",
                    url, text);
      default:
        break;
    }
    if (code == CURLE_SSL_CONNECT_ERROR && text.find("wrong version number") != std::string_view::npos) {
      return fail(ErrorCode::io, "{}: the server does not speak TLS ({}); is it an address with http://?", url, text);
    }
    return fail(ErrorCode::unavailable, "{}: {}", url, text);
  }
};

HttpClient::HttpClient(const std::atomic<bool>* cancelled, TrustedCertificates trusted)
    : impl_(std::make_unique<Impl>(cancelled, std::move(trusted))) {}

Result<HttpReply> HttpClient::send(const HttpRequest& request, const Sink& sink) {
  if (impl_->curl == nullptr) return fail(ErrorCode::internal, "libcurl cannot be started");
  std::string url = request.url, method = request.method;
  HttpRequest now = request;
  for (int redirects = 0;; ++redirects) {
    Exchange exchange{.sink = sink,
                      .cancelled = impl_->cancelled,
                      .curl = impl_->curl,
                      .follow_all = request.follow == HttpRequest::Follow::all,
                      .follow_relative = request.follow == HttpRequest::Follow::relative};
    const bool with_token = !request.token.empty() && same_origin(url, request.url);
    MOXIE_TRY_VOID(impl_->exchange_once(now, url, with_token, exchange));
    if (!will_follow(exchange) || exchange.reply.location.empty()) return std::move(exchange.reply);
    if (redirects == kRedirectsMax) {
      return fail(ErrorCode::unavailable, "{}: redirected more than {} times, at last to {}", shown(request.url),
                  kRedirectsMax, shown(exchange.reply.location));
    }
    const std::string next = exchange.reply.location;
    MOXIE_TRY_VOID(check_encryption_stays(url, next));
    // As browsers do: what was posted is not posted again elsewhere, unless the server says so (307, 308).
    if (now.method == "POST" && exchange.reply.status < 307) {
      now.method = "GET";
      now.body.clear();
    }
    url = next;
  }
}

bool HttpClient::is_available() {
  return true;
}

bool same_origin(const std::string& one, const std::string& other) {
  const CurlUrl a(curl_url(), &curl_url_cleanup), b(curl_url(), &curl_url_cleanup);
  if (curl_url_set(a.get(), CURLUPART_URL, one.c_str(), 0) != CURLUE_OK ||
      curl_url_set(b.get(), CURLUPART_URL, other.c_str(), 0) != CURLUE_OK)
    return false;
  for (const CURLUPart part : {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT}) {
    if (!same_name(url_part(a.get(), part), url_part(b.get(), part))) return false;
  }
  return true;
}

#else

struct HttpClient::Impl {};

HttpClient::HttpClient(const std::atomic<bool>*, TrustedCertificates) {}

Result<HttpReply> HttpClient::send(const HttpRequest& request, const Sink&) {
  return fail(ErrorCode::unsupported,
              "{}: this build of moxie has no HTTP client; build it with libcurl (cmake -DMOXIE_CURL=ON, Debian "
              "package libcurl4-openssl-dev)",
              shown(request.url));
}

bool HttpClient::is_available() {
  return false;
}

bool same_origin(const std::string&, const std::string&) {
  return false;
}

#endif

HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpClient::Text> HttpClient::fetch(const HttpRequest& request, uint64_t bytes_max) {
  std::string body;
  MOXIE_TRY(HttpReply reply, send(request, [&](const HttpReply&, std::string_view piece) -> Result<void> {
              if (piece.size() > bytes_max - body.size()) {
                return fail(ErrorCode::unsupported, "{}: the answer is longer than {} bytes", shown(request.url),
                            bytes_max);
              }
              body += piece;
              return {};
            }));
  return Text{std::move(reply), std::move(body)};
}

}  // namespace moxie

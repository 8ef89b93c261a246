#include "hub/hub_client.h"

#include <algorithm>
#include <charconv>
#include <thread>

#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/json.h"
#include "core/printable.h"

namespace moxie {
namespace {

constexpr uint64_t kAnswerBytesMax = uint64_t{32} << 20;
constexpr size_t kFilesMax = 100000;

std::string host_of(const std::string& url) {
  const size_t scheme = url.find("://");
  const size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  return printable(url.substr(begin, url.find_first_of("/?#", begin) - begin));
}

// W/"abc" -> abc
std::string plain_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  while (etag.starts_with('"')) etag.remove_prefix(1);
  while (etag.ends_with('"')) etag.remove_suffix(1);
  return std::string(etag);
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

const HubEntry* HubListing::find(std::string_view path) const {
  const auto found = std::lower_bound(files.begin(), files.end(), path,
                                      [](const HubEntry& entry, std::string_view name) { return entry.path < name; });
  return found == files.end() || found->path != path ? nullptr : &*found;
}

bool may_pass(int status) {
  return status == 408 || status == 429 || status >= 500;
}

Error status_error(const HttpReply& reply, std::string_view remedy) {
  std::string_view message = reply.header("X-Error-Message");
  return fail(ErrorCode::unavailable, "{} answers {}{}{}", host_of(reply.url), reply.status,
              message.empty() ? "" : fmt::format(" ({})", printable(message)),
              remedy.empty() ? "" : fmt::format("; {}", remedy));
}

Result<void> RetryClock::wait(Error why, std::optional<int> retry_after) {
  ++attempts_;
  const std::chrono::seconds asked(retry_after.value_or(0));
  if (attempts_ >= retries_.attempts_max) {
    why.message += fmt::format("; gave up after {} attempts: try again later, what has come is kept", attempts_);
    return why;
  }
  if (asked > retries_.retry_after_max) {
    why.message += fmt::format("; it asks to wait {} s: try again then", asked.count());
    return why;
  }
  auto pause = retries_.first_pause;
  for (int i = 1; i < attempts_ && pause < retries_.pause_max; ++i) pause *= 2;
  pause = std::max<std::chrono::milliseconds>(std::min(pause, retries_.pause_max), asked);
  if (retries_.on_wait && pause >= std::chrono::seconds(1))
    retries_.on_wait(fmt::format("{}; next attempt in {} s", why.message, (pause.count() + 999) / 1000));
  const auto end = std::chrono::steady_clock::now() + pause;
  while (std::chrono::steady_clock::now() < end) {
    if (cancelled_ != nullptr && cancelled_->load()) return fail(ErrorCode::cancelled, "stopped");
    const auto left = end - std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(left, std::chrono::milliseconds(50)));
  }
  return {};
}

HubClient::HubClient(const HubSettings& settings, HttpRetries retries, const std::atomic<bool>* cancelled)
    : settings_(settings), retries_(std::move(retries)), cancelled_(cancelled), http_(cancelled, settings.trusted) {}

std::string HubClient::address(const std::string& repo, const std::string& revision, const std::string& path) const {
  return fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, repo, url_encoded(revision), url_encoded(path, true));
}

Result<HttpClient::Text> HubClient::ask(HttpRequest request) {
  if (settings_.offline) {
    return fail(ErrorCode::unavailable,
                "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set, so that {} is not asked; unset it to download",
                host_of(settings_.endpoint));
  }
  request.token = settings_.token;
  RetryClock clock(retries_, cancelled_);
  for (;;) {
    auto answer = http_.fetch(request, kAnswerBytesMax);
    if (answer.ok() && !may_pass(answer->reply.status)) return answer;
    if (!answer.ok()) {
      if (answer.error().code != ErrorCode::unavailable) return answer;
      MOXIE_TRY_VOID(clock.wait(std::move(answer).error()));
    } else {
      MOXIE_TRY_VOID(clock.wait(status_error(answer->reply, ""), retry_after_seconds(answer->reply)));
    }
  }
}

// Why a hub says no. A repository that does not exist and one that is private look the same to whoever has no token.
Error HubClient::refused(const HttpReply& reply, const std::string& repo, const std::string& revision,
                         const std::string& path) const {
  const std::string_view code = reply.header("X-Error-Code");
  const std::string page = fmt::format("{}/{}", settings_.endpoint, repo);
  const bool has_token = !settings_.token.empty();
  if (code == "GatedRepo" || (reply.status == 403 && code.empty())) {
    return fail(ErrorCode::unavailable, "{} is gated: {}; {}", repo,
                has_token ? "the account of this token has not been given access"
                          : "its terms have to be accepted, and no token is set",
                has_token ? fmt::format("accept its terms at {} and wait until access is granted", page)
                          : fmt::format("accept them at {}, make a token at {}/settings/tokens, and set HF_TOKEN (or "
                                        "--token)",
                                        page, settings_.endpoint));
  }
  if (code == "RevisionNotFound") {
    return fail(ErrorCode::not_found, "{} has no revision '{}'; {}/tree/main shows its branches", repo,
                printable(revision), page);
  }
  if (code == "EntryNotFound" || (reply.status == 404 && code.empty() && !path.empty()))
    return fail(ErrorCode::not_found, "{} has no file '{}' at revision {}", repo, printable(path), printable(revision));
  if (reply.status == 401 || code == "RepoNotFound" || reply.status == 404) {
    if (reply.status == 401 && has_token && code != "RepoNotFound") {
      return fail(ErrorCode::unavailable,
                  "{} does not take the token for {}: it is wrong or expired; make another at {}/settings/tokens and "
                  "set HF_TOKEN (or --token)",
                  host_of(reply.url), repo, settings_.endpoint);
    }
    return fail(ErrorCode::not_found, "{} has no repository '{}', or it is private; check the name{}",
                host_of(settings_.endpoint), repo,
                has_token ? " and what the token may read" : ", or set HF_TOKEN (or --token) where it is private");
  }
  return status_error(reply, "check HF_ENDPOINT and the proxy settings");
}

Result<HubListing> HubClient::list(const std::string& repo, const std::string& revision) {
  HttpRequest request{
      .url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", settings_.endpoint, repo, url_encoded(revision))};
  MOXIE_TRY(const HttpClient::Text answer, ask(std::move(request)));
  if (answer.reply.status != 200) return refused(answer.reply, repo, revision, "");
  return parse_hub_listing(answer.body, repo, revision);
}

Result<HubListing> parse_hub_listing(std::string_view text, const std::string& repo, const std::string& revision) {
  const std::string what = fmt::format("the hub's answer about {}", repo);
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorCode::corrupt, "{}: {}; check HF_ENDPOINT and the proxy settings", what, why);
  };
  auto json = parse_json(text, what, {.bytes_max = kAnswerBytesMax, .depth_max = 64});
  if (!json.ok()) return wrong(json.error().message);
  const Json *sha = json->find("sha"), *siblings = json->find("siblings");
  if (sha == nullptr || sha->text() == nullptr || !is_commit(*sha->text())) return wrong("names no commit");
  if (siblings == nullptr || siblings->array() == nullptr) return wrong("lists no files");
  if (siblings->array()->size() > kFilesMax) return wrong(fmt::format("lists more than {} files", kFilesMax));
  HubListing listing{.repo = repo, .revision = revision, .commit = *sha->text()};
  for (const Json& sibling : *siblings->array()) {
    const Json* path = sibling.find("rfilename");
    // Names that would leave their folder are no files of ours.
    if (path == nullptr || path->text() == nullptr || !is_safe_repo_path(*path->text())) continue;
    HubEntry entry{.path = *path->text()};
    if (const Json* size = sibling.find("size"); size != nullptr && size->integer().value_or(-1) >= 0)
      entry.bytes = static_cast<uint64_t>(*size->integer());
    listing.files.push_back(std::move(entry));
  }
  std::sort(listing.files.begin(), listing.files.end(),
            [](const HubEntry& a, const HubEntry& b) { return a.path < b.path; });
  return listing;
}

Result<HubFile> HubClient::locate(const std::string& repo, const std::string& revision, const std::string& path) {
  HubFile file{.path = path, .address = address(repo, revision, path)};
  HttpRequest request{.method = "HEAD",
                      .url = file.address,
                      .headers = {{"Accept-Encoding", "identity"}},
                      .follow = HttpRequest::Follow::relative};  // a renamed repository; the other is the storage's
  MOXIE_TRY(const HttpClient::Text answer, ask(std::move(request)));
  const HttpReply& reply = answer.reply;
  if (reply.status != 200 && !reply.is_redirect()) return refused(reply, repo, revision, path);
  file.commit = reply.header("X-Repo-Commit");
  if (!is_commit(file.commit)) {
    return fail(ErrorCode::corrupt,
                "{}: the answer about {} names no commit (X-Repo-Commit): this is no hub; check HF_ENDPOINT and the "
                "proxy settings",
                host_of(reply.url), path);
  }
  const std::string_view linked_etag = reply.header("X-Linked-Etag"), linked_size = reply.header("X-Linked-Size");
  file.etag = plain_etag(linked_etag.empty() ? reply.header("ETag") : linked_etag);
  if (!is_safe_etag(file.etag)) {
    return fail(ErrorCode::corrupt, "{}: the answer about {} has no usable ETag ('{}'); check HF_ENDPOINT",
                host_of(reply.url), path, printable(file.etag));
  }
  if (!linked_size.empty()) {
    file.bytes = number(linked_size);
  } else if (!reply.is_redirect()) {
    file.bytes = number(reply.header("Content-Length"));
  }
  file.location = reply.location.empty() ? reply.url : reply.location;
  MOXIE_TRY_VOID(check_encryption_stays(reply.url, file.location));
  return file;
}

}  // namespace moxie

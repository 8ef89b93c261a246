// What a hub says: which files a repository has, and where one lies. Requests that fail for a while (no connection,
// 429, 5xx) are made again, after the time that the server asks for. Belongs to one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/http_client.h"
#include "hub/hub_cache.h"
#include "moxie/error.h"

namespace moxie {

// How often and after what time a request is made again.
struct HttpRetries {
  int attempts_max = 6;                         // without any progress between them
  std::chrono::milliseconds first_pause{1000};  // doubled each time
  std::chrono::milliseconds pause_max{30000};
  std::chrono::seconds retry_after_max{300};      // a server that asks for more is not waited for
  std::function<void(std::string_view)> on_wait;  // says why and how long; may be empty; from any thread
};

struct HubEntry {
  std::string path;
  std::optional<uint64_t> bytes;
};

struct HubListing {
  std::string repo, revision;
  std::string commit;
  std::vector<HubEntry> files;  // sorted by path
  const HubEntry* find(std::string_view path) const;
};

// One file at one commit.
struct HubFile {
  std::string path, commit;
  std::string etag;               // sha256 (64 digits) of a large file, git's sha1 (40) of a small one
  std::optional<uint64_t> bytes;  // where the server tells
  std::string address;            // at the hub
  std::string location;           // where its bytes are to be fetched: may be signed, and expire
};

class HubClient {
 public:
  HubClient(const HubSettings& settings, HttpRetries retries, const std::atomic<bool>* cancelled);

  // Errors: not_found (repository or revision, with what may be wrong), unavailable (gated, token refused, offline, no
  // answer), corrupt (an answer that is none of a hub).
  Result<HubListing> list(const std::string& repo, const std::string& revision);
  // Errors: those and not_found for the file.
  Result<HubFile> locate(const std::string& repo, const std::string& revision, const std::string& path);

  const HubSettings& settings() const { return settings_; }
  const HttpRetries& retries() const { return retries_; }
  const std::atomic<bool>* cancelled() const { return cancelled_; }
  HttpClient& http() { return http_; }
  std::string address(const std::string& repo, const std::string& revision, const std::string& path) const;

 private:
  Result<HttpClient::Text> ask(HttpRequest request);
  Error refused(const HttpReply& reply, const std::string& repo, const std::string& revision,
                const std::string& path) const;

  HubSettings settings_;
  HttpRetries retries_;
  const std::atomic<bool>* cancelled_;
  HttpClient http_;
};

// Counts attempts and waits between them.
class RetryClock {
 public:
  RetryClock(const HttpRetries& retries, const std::atomic<bool>* cancelled)
      : retries_(retries), cancelled_(cancelled) {}
  void progressed() { attempts_ = 0; }
  // After a failure that may pass: waits, and is ok where another attempt is to be made. Errors: `why`, where it is
  // not; cancelled.
  Result<void> wait(Error why, std::optional<int> retry_after = {});

 private:
  const HttpRetries& retries_;
  const std::atomic<bool>* cancelled_;
  int attempts_ = 0;
};

// Is a status one that may pass (429, 408, 5xx)?
bool may_pass(int status);
// "HOST answers 503 (text)".
Error status_error(const HttpReply& reply, std::string_view remedy);
// The listing in a hub's answer. Errors: corrupt.
Result<HubListing> parse_hub_listing(std::string_view text, const std::string& repo, const std::string& revision);

}  // namespace moxie

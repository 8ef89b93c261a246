#include "hub/remote_files.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "core/fail.h"
#include "core/printable.h"
#include "hub/blob_download.h"

namespace moxie {
namespace {

// A header of safetensors is mostly below the first step, one of GGUF with a vocabulary takes two to seven.
constexpr uint64_t kFirstBytes = 256 << 10;
constexpr uint64_t kStartBytesMax = uint64_t{256} << 20;   // beyond, parts are read by themselves and not kept
constexpr uint64_t kSkippedBytesMax = uint64_t{16} << 20;  // of a server that knows no ranges

}  // namespace

RemoteFiles::RemoteFiles(const HubSettings& hub, const HttpRetries& retries, const HubListing& listing,
                         const std::atomic<bool>* cancelled)
    : hub_(hub),
      retries_(retries),
      repo_(listing.repo),
      commit_(listing.commit),
      cancelled_(cancelled),
      http_(cancelled, hub.trusted) {}

Result<std::shared_ptr<RemoteFiles>> RemoteFiles::open(const HubSettings& hub, const HttpRetries& retries,
                                                       const HubListing& listing, std::vector<HubEntry> files,
                                                       const std::atomic<bool>* cancelled) {
  std::shared_ptr<RemoteFiles> tree(new RemoteFiles(hub, retries, listing, cancelled));
  HubClient client(hub, retries, cancelled);
  for (const HubEntry& file : files) {
    std::optional<uint64_t> bytes = file.bytes;
    if (!bytes) {
      MOXIE_TRY(const HubFile found, client.locate(listing.repo, listing.commit, file.path));
      bytes = found.bytes;
    }
    if (!bytes) {
      return fail(ErrorCode::unsupported, "{}: the hub does not say how long {} is; pull the model to look into it",
                  listing.repo, printable(file.path));
    }
    tree->entries_.push_back({file.path, *bytes});
    tree->starts_.emplace(file.path, std::make_unique<Start>());
  }
  std::sort(tree->entries_.begin(), tree->entries_.end(),
            [](const Entry& a, const Entry& b) { return a.path < b.path; });
  return tree;
}

Result<void> RemoteFiles::read(const Entry& entry, uint64_t offset, std::span<std::byte> into) const {
  if (into.empty()) return {};
  Start& start = *starts_.find(entry.path)->second;
  const uint64_t end = offset + into.size();
  {
    const std::lock_guard lock(start.mutex);
    // Near the beginning, or going on where the last read ended: a header.
    const bool is_start = offset <= start.bytes.size() || offset <= kFirstBytes;
    if (is_start && end > start.bytes.size() && end <= kStartBytesMax) {
      const std::lock_guard http_lock(http_mutex_);
      MOXIE_TRY_VOID(extend(entry, start, end, http_));
    }
    if (end <= start.bytes.size()) {
      std::memcpy(into.data(), start.bytes.data() + offset, into.size());
      return {};
    }
  }
  const std::lock_guard http_lock(http_mutex_);
  std::string part;
  MOXIE_TRY_VOID(fetch(entry, offset, end, http_, part));
  std::memcpy(into.data(), part.data(), into.size());
  return {};
}

Result<void> RemoteFiles::extend(const Entry& entry, Start& start, uint64_t end, HttpClient& http) const {
  const uint64_t wanted = std::max({end, kFirstBytes, 2 * static_cast<uint64_t>(start.bytes.size())});
  return fetch(entry, start.bytes.size(), std::min(wanted, entry.bytes), http, start.bytes);
}

// Appends the bytes from `begin` to `end` to `into`.
Result<void> RemoteFiles::fetch(const Entry& entry, uint64_t begin, uint64_t end, HttpClient& http,
                                std::string& into) const {
  RetryClock clock(retries_, cancelled_);
  const size_t before = into.size();
  const uint64_t bytes = end - begin;
  for (;;) {
    HttpRequest request{
        .url = fmt::format("{}/{}/resolve/{}/{}", hub_.endpoint, repo_, commit_, url_encoded(entry.path, true)),
        .headers = {{"Accept-Encoding", "identity"}},
        .token = hub_.token};
    const uint64_t had = into.size() - before, from = begin + had;
    request.headers.emplace_back("Range", fmt::format("bytes={}-{}", from, end - 1));
    uint64_t skip = 0;
    bool checked = false, enough = false;
    const auto reply = http.send(request, [&](const HttpReply& head, std::string_view text) -> Result<void> {
      if (head.status != 200 && head.status != 206) return {};
      if (!checked && head.status == 206) {
        const auto range = parse_content_range(head.header("Content-Range"));
        if (!range || range->begin != from || (range->whole && *range->whole != entry.bytes)) {
          return fail(ErrorCode::unavailable, "{}: the server sent another part ('{}') than the one from byte {}",
                      entry.path, head.header("Content-Range"), from);
        }
      }
      if (!checked && head.status == 200) skip = from;
      checked = true;
      bytes_read_ += text.size();
      if (skip > kSkippedBytesMax) {
        return fail(ErrorCode::unsupported, "{}: the server gives no parts of files; pull the model to look into it",
                    entry.path);
      }
      const auto skipped = static_cast<size_t>(std::min<uint64_t>(skip, text.size()));
      skip -= skipped;
      text = text.substr(skipped).substr(0, static_cast<size_t>(bytes - (into.size() - before)));
      into += text;
      enough = into.size() - before == bytes;
      if (enough && head.status == 200) return fail(ErrorCode::cancelled, "enough");  // no need of the rest
      return {};
    });
    if (into.size() - before == bytes) return {};
    if (into.size() - before > had) clock.progressed();
    if (!reply.ok()) {
      if (reply.error().code != ErrorCode::unavailable) return reply.error();
      MOXIE_TRY_VOID(clock.wait(reply.error()));
    } else if (reply->status == 200 || reply->status == 206) {
      MOXIE_TRY_VOID(clock.wait(fail(ErrorCode::unavailable, "{}: the connection ended early", entry.path)));
    } else if (may_pass(reply->status)) {
      MOXIE_TRY_VOID(clock.wait(status_error(*reply, ""), retry_after_seconds(*reply)));
    } else {
      HubClient client(hub_, retries_, cancelled_);
      MOXIE_TRY(const HubFile found, client.locate(repo_, commit_, entry.path));  // says what is wrong
      return status_error(*reply, fmt::format("{} could not be read", found.path));
    }
  }
}

void RemoteFiles::read_ahead(int connections) const {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    HttpClient http(cancelled_, hub_.trusted);
    for (size_t i = next++; i < entries_.size(); i = next++) {
      const Entry& entry = entries_[i];
      if (!entry.path.ends_with(".safetensors") && !entry.path.ends_with(".gguf")) continue;
      Start& start = *starts_.find(entry.path)->second;
      const std::lock_guard lock(start.mutex);
      // An error will come again, and be told, when somebody needs these bytes.
      if (start.bytes.empty()) static_cast<void>(extend(entry, start, 0, http).ok());
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace moxie

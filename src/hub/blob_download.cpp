#include "hub/blob_download.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "core/fail.h"

namespace moxie {
namespace {

constexpr uint64_t kPiecesAhead = 2;  // a connection's, beyond the one that is written next: bounds the memory

// Where the bytes are fetched. A signed address expires: whoever finds that out first asks the hub again, for all.
class Source {
 public:
  Source(const HubSettings& hub, const std::string& repo, const HubFile& file, const HttpRetries& retries,
         const std::atomic<bool>* cancelled)
      : hub_(hub), repo_(repo), file_(file), retries_(retries), cancelled_(cancelled), location_(file.location) {}

  std::string location() const {
    const std::lock_guard lock(mutex_);
    return location_;
  }

  Result<void> renew(const std::string& expired) {
    const std::lock_guard lock(mutex_);
    if (location_ != expired) return {};
    HubClient client(hub_, retries_, cancelled_);
    MOXIE_TRY(const HubFile now, client.locate(repo_, file_.commit, file_.path));
    if (now.etag != file_.etag) {
      return fail(ErrorCode::corrupt, "{}: changed at the hub while it came; run the same command again", file_.path);
    }
    location_ = now.location;
    return {};
  }

  HttpRequest request(const std::string& location) const {
    return {.url = location,
            .headers = {{"Accept-Encoding", "identity"}},
            .token = same_origin(location, hub_.endpoint) ? hub_.token : ""};
  }
  const HubFile& file() const { return file_; }
  const HubSettings& hub() const { return hub_; }

 private:
  const HubSettings& hub_;
  const std::string& repo_;
  const HubFile& file_;
  const HttpRetries& retries_;
  const std::atomic<bool>* cancelled_;
  mutable std::mutex mutex_;
  std::string location_;
};

// Is the answer the part that was asked for? ok: yes.
Result<void> check_part(const HttpReply& reply, uint64_t begin, const HubFile& file) {
  const auto range = parse_content_range(reply.header("Content-Range"));
  if (!range || range->begin != begin) {
    return fail(ErrorCode::unavailable, "{}: the server sent another part ('{}') than the one from byte {}", file.path,
                reply.header("Content-Range"), begin);
  }
  if (range->whole && file.bytes && *range->whole != *file.bytes) {
    return fail(ErrorCode::corrupt, "{}: the storage has {} bytes, but the hub says {}; try again later", file.path,
                *range->whole, *file.bytes);
  }
  return {};
}

// After an answer that is no content: ok where another attempt is to be made, after the wait that it takes.
Result<void> recover(const HttpReply& reply, const std::string& location, Source& source, RetryClock& clock) {
  if (reply.status == 416) {
    return fail(ErrorCode::corrupt, "{}: the storage has fewer bytes than the hub says ({}); try again later",
                source.file().path, source.file().bytes.value_or(0));
  }
  const bool expired = reply.status == 401 || reply.status == 403 || reply.status == 404 || reply.status == 410;
  if (!expired && !may_pass(reply.status)) return status_error(reply, "try again later");
  MOXIE_TRY_VOID(clock.wait(status_error(reply, ""), retry_after_seconds(reply)));
  return expired ? source.renew(location) : Result<void>{};
}

// What the threads of one download share.
struct Pieces {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t next, whole, piece_bytes, ahead_bytes;
  uint64_t written;                       // all before it is in the file
  std::map<uint64_t, std::string> ready;  // by where they begin
  std::optional<Error> failure;
  int workers = 0;
  std::atomic<uint64_t> received{0};
  std::atomic<bool> stop{false}, ranges_ignored{false};

  void fail_with(Error error) {
    if (!failure) failure = std::move(error);
    stop = true;
  }
};

// Appends to `got` until it has `bytes` bytes from `begin` of the file.
Result<void> fetch_piece(HttpClient& http, Source& source, const HttpRetries& retries, Pieces& pieces, uint64_t begin,
                         uint64_t bytes, std::string& got) {
  RetryClock clock(retries, &pieces.stop);
  got.reserve(bytes);
  for (;;) {
    const std::string location = source.location();
    const uint64_t from = begin + got.size();
    const size_t had = got.size();
    HttpRequest request = source.request(location);
    request.headers.emplace_back("Range", fmt::format("bytes={}-{}", from, begin + bytes - 1));
    bool checked = false;
    const auto reply = http.send(request, [&](const HttpReply& head, std::string_view text) -> Result<void> {
      if (head.status == 200) {
        pieces.ranges_ignored = true;
        return fail(ErrorCode::cancelled, "no ranges");
      }
      if (head.status != 206) return {};
      if (!checked) MOXIE_TRY_VOID(check_part(head, from, source.file()));
      checked = true;
      if (text.size() > bytes - got.size())
        return fail(ErrorCode::unavailable, "{}: the server sent more than was asked for", source.file().path);
      got += text;
      pieces.received += text.size();
      return {};
    });
    if (got.size() == bytes) return {};
    if (got.size() > had) clock.progressed();
    if (!reply.ok()) {
      if (reply.error().code != ErrorCode::unavailable) return reply.error();
      MOXIE_TRY_VOID(clock.wait(reply.error()));
    } else if (reply->status == 206) {
      MOXIE_TRY_VOID(clock.wait(fail(ErrorCode::unavailable, "{}: the connection ended {} bytes early",
                                     source.file().path, bytes - got.size())));
    } else if (reply->status == 200) {  // without a body
      pieces.ranges_ignored = true;
      return fail(ErrorCode::cancelled, "no ranges");
    } else {
      MOXIE_TRY_VOID(recover(*reply, location, source, clock));
    }
  }
}

void work(Source& source, const HttpRetries& retries, Pieces& pieces) {
  HttpClient http(&pieces.stop, source.hub().trusted);
  std::unique_lock lock(pieces.mutex);
  for (;;) {
    pieces.changed.wait(lock, [&] {
      return pieces.stop || pieces.next >= pieces.whole || pieces.next < pieces.written + pieces.ahead_bytes;
    });
    if (pieces.stop || pieces.next >= pieces.whole) break;
    const uint64_t begin = pieces.next, bytes = std::min(pieces.piece_bytes, pieces.whole - begin);
    pieces.next += bytes;
    lock.unlock();
    std::string got;
    auto fetched = fetch_piece(http, source, retries, pieces, begin, bytes, got);
    lock.lock();
    pieces.ready.emplace(begin, std::move(got));  // also the beginning of one that failed: it need not come again
    if (!fetched.ok()) pieces.fail_with(std::move(fetched).error());
    pieces.changed.notify_all();
  }
  --pieces.workers;
  pieces.changed.notify_all();
}

Result<void> download_pieces(Source& source, const DownloadSettings& settings, const std::atomic<bool>* cancelled,
                             const std::function<void(uint64_t)>& on_progress, PartialFile& into,
                             bool& ranges_ignored) {
  Pieces pieces;
  const uint64_t start = into.bytes(), whole = *source.file().bytes;
  pieces.next = pieces.written = start;
  pieces.whole = whole;
  pieces.piece_bytes = settings.piece_bytes;
  const uint64_t count = (whole - start + settings.piece_bytes - 1) / settings.piece_bytes;
  const auto connections = std::min<uint64_t>(count, static_cast<uint64_t>(std::max(1, settings.connections)));
  pieces.ahead_bytes = connections * kPiecesAhead * settings.piece_bytes;
  pieces.workers = static_cast<int>(connections);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < connections; ++i) threads.emplace_back([&] { work(source, settings.retries, pieces); });

  std::unique_lock lock(pieces.mutex);
  for (;;) {
    const auto first = pieces.ready.begin();
    if (first != pieces.ready.end() && first->first == pieces.written) {
      const std::string text = std::move(first->second);
      pieces.ready.erase(first);
      lock.unlock();
      auto appended = into.append(text);
      lock.lock();
      pieces.written += text.size();
      if (!appended.ok()) {
        pieces.fail_with(std::move(appended).error());
        break;
      }
      pieces.changed.notify_all();
      continue;
    }
    if (pieces.workers == 0) break;
    pieces.changed.wait_for(lock, std::chrono::milliseconds(100));
    if (cancelled != nullptr && cancelled->load()) pieces.stop = true;
    if (on_progress) on_progress(start + pieces.received);
    if (pieces.stop) pieces.changed.notify_all();
  }
  pieces.changed.notify_all();
  lock.unlock();
  for (std::thread& thread : threads) thread.join();
  ranges_ignored = pieces.ranges_ignored;
  if (cancelled != nullptr && cancelled->load()) return fail(ErrorCode::cancelled, "{}: stopped", source.file().path);
  if (pieces.ranges_ignored) return {};
  if (pieces.failure) return std::move(*pieces.failure);
  return {};
}

Result<void> download_stream(Source& source, const DownloadSettings& settings, const std::atomic<bool>* cancelled,
                             const std::function<void(uint64_t)>& on_progress, PartialFile& into) {
  const HubFile& file = source.file();
  HttpClient http(cancelled, source.hub().trusted);
  RetryClock clock(settings.retries, cancelled);
  uint64_t farthest = into.bytes();  // a server that always starts over makes progress only beyond that
  auto last = std::chrono::steady_clock::now();
  while (!file.bytes || into.bytes() < *file.bytes) {
    const std::string location = source.location();
    HttpRequest request = source.request(location);
    const uint64_t from = into.bytes();
    if (from > 0) request.headers.emplace_back("Range", fmt::format("bytes={}-", from));
    bool checked = false;
    const auto reply = http.send(request, [&](const HttpReply& head, std::string_view text) -> Result<void> {
      if (head.status != 200 && head.status != 206) return {};
      if (!checked && head.status == 206) MOXIE_TRY_VOID(check_part(head, from, file));
      if (!checked && head.status == 200 && from > 0) MOXIE_TRY_VOID(into.restart());
      checked = true;
      if (file.bytes && text.size() > *file.bytes - into.bytes()) {
        return fail(ErrorCode::corrupt,
                    "{}: the server sends more than the {} bytes that the hub says; try again later", file.path,
                    *file.bytes);
      }
      MOXIE_TRY_VOID(into.append(text));
      if (const auto now = std::chrono::steady_clock::now(); now - last > std::chrono::milliseconds(100)) {
        last = now;
        if (on_progress) on_progress(into.bytes());
      }
      return {};
    });
    if (into.bytes() > farthest) {
      farthest = into.bytes();
      clock.progressed();
    }
    if (!reply.ok()) {
      if (reply.error().code != ErrorCode::unavailable) return reply.error();
      MOXIE_TRY_VOID(clock.wait(reply.error()));
    } else if (reply->status == 200 || reply->status == 206) {
      if (!file.bytes || into.bytes() == *file.bytes) return {};
      MOXIE_TRY_VOID(clock.wait(fail(ErrorCode::unavailable, "{}: the connection ended {} bytes early", file.path,
                                     *file.bytes - into.bytes())));
    } else {
      MOXIE_TRY_VOID(recover(*reply, location, source, clock));
    }
  }
  return {};
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return std::nullopt;
  const char *at = text.data() + kUnit.size(), *const end = text.data() + text.size();
  ContentRange range;
  uint64_t last = 0, whole = 0;
  auto parsed = std::from_chars(at, end, range.begin);
  if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '-') return std::nullopt;
  parsed = std::from_chars(parsed.ptr + 1, end, last);
  if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '/' || last < range.begin) return std::nullopt;
  if (last == UINT64_MAX) return std::nullopt;
  range.end = last + 1;
  if (std::string_view(parsed.ptr + 1, static_cast<size_t>(end - parsed.ptr - 1)) == "*") return range;
  parsed = std::from_chars(parsed.ptr + 1, end, whole);
  if (parsed.ec != std::errc() || parsed.ptr != end || whole < range.end) return std::nullopt;
  range.whole = whole;
  return range;
}

Result<void> download_blob(const HubSettings& hub, const std::string& repo, const HubFile& file,
                           const DownloadSettings& settings, const std::atomic<bool>* cancelled,
                           const std::function<void(uint64_t bytes)>& on_progress, PartialFile& into) {
  Source source(hub, repo, file, settings.retries, cancelled);
  if (file.bytes && into.bytes() + settings.piece_bytes < *file.bytes && settings.connections > 1) {
    bool ranges_ignored = false;
    MOXIE_TRY_VOID(download_pieces(source, settings, cancelled, on_progress, into, ranges_ignored));
    if (!ranges_ignored) return {};
  }
  return download_stream(source, settings, cancelled, on_progress, into);
}

}  // namespace moxie

// One file of a hub, fetched into a partial file: in pieces over several connections, written in order, so that the
// partial file is at any moment the beginning of the whole and any client can go on with it. Called from one thread;
// starts threads of its own, which are gone when it returns.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "hub/hub_client.h"
#include "hub/partial_file.h"
#include "moxie/error.h"

namespace moxie {

struct DownloadSettings {
  int connections = 8;
  uint64_t piece_bytes = uint64_t{4} << 20;
  HttpRetries retries;
};

// Fetches what `into` lacks of `file`. `on_progress` hears about ten times a second how much of the file has come. A
// server that knows no ranges is read in one stream, from the beginning. Broken connections are taken up again where
// they broke. Errors: unavailable, io, corrupt, cancelled; what has come stays in the partial file.
Result<void> download_blob(const HubSettings& hub, const std::string& repo, const HubFile& file,
                           const DownloadSettings& settings, const std::atomic<bool>* cancelled,
                           const std::function<void(uint64_t bytes)>& on_progress, PartialFile& into);

// "bytes 5-9/20". Exposed for its test.
struct ContentRange {
  uint64_t begin = 0, end = 0;    // end: exclusive
  std::optional<uint64_t> whole;  // "*": unknown
};
std::optional<ContentRange> parse_content_range(std::string_view text);

}  // namespace moxie

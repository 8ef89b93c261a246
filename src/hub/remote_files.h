// Files of a hub, read in place by range requests: what a header says costs a few hundred kilobytes of a model of many
// gigabytes. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/mount.h"
#include "hub/hub_client.h"
#include "moxie/error.h"

namespace moxie {

class RemoteFiles final : public FileTree {
 public:
  // `files` of the listing; sizes that it does not tell are asked for. Errors: those of the hub.
  static Result<std::shared_ptr<RemoteFiles>> open(const HubSettings& hub, const HttpRetries& retries,
                                                   const HubListing& listing, std::vector<HubEntry> files,
                                                   const std::atomic<bool>* cancelled);

  const std::vector<Entry>& entries() const override { return entries_; }
  Result<void> read(const Entry& entry, uint64_t offset, std::span<std::byte> into) const override;

  // The beginnings of all weight files at once, over several connections. What fails is read when it is needed.
  void read_ahead(int connections) const;
  uint64_t bytes_read() const { return bytes_read_; }  // from the network so far

 private:
  // A file's beginning, as far as it has been read: headers are read front to back, in growing steps.
  struct Start {
    std::mutex mutex;
    std::string bytes;
  };

  RemoteFiles(const HubSettings& hub, const HttpRetries& retries, const HubListing& listing,
              const std::atomic<bool>* cancelled);
  Result<void> extend(const Entry& entry, Start& start, uint64_t end, HttpClient& http) const;
  Result<void> fetch(const Entry& entry, uint64_t begin, uint64_t end, HttpClient& http, std::string& into) const;

  HubSettings hub_;
  HttpRetries retries_;
  std::string repo_, commit_;
  const std::atomic<bool>* cancelled_;
  std::vector<Entry> entries_;
  std::map<std::string, std::unique_ptr<Start>, std::less<>> starts_;  // one for each entry
  mutable std::mutex http_mutex_;
  mutable HttpClient http_;
  mutable std::atomic<uint64_t> bytes_read_{0};
};

}  // namespace moxie

// Brings files of a hub to this machine: into the cache shared with huggingface_hub, or plainly into a folder. A file
// appears under its name when it is complete and its digest is right, or not at all; what a broken download leaves is
// gone on with by the next one. Called from one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/blob_download.h"
#include "hub/hub_client.h"
#include "moxie/error.h"

namespace moxie {

struct PullProgress {
  std::string_view file;
  size_t number = 0, count = 0;  // this file's, from 1, and of all
  uint64_t done = 0, total = 0;  // bytes of all files
  uint64_t there_before = 0;     // of `done`: what lay here already
};

struct PullSettings {
  HubSettings hub;
  DownloadSettings download;
  std::string local_dir;  // empty: the cache
  bool force = false;     // fetch what is there again
  bool verify = false;    // read what is there, and fetch what is not as the hub says
  std::function<void(const PullProgress&)> on_progress;
  std::function<void(std::string_view)> on_note;
  const std::atomic<bool>* cancelled = nullptr;
};

struct PulledFile {
  std::string path;        // in the repository
  std::string local_path;  // here
  uint64_t bytes = 0;
  bool was_there = false;
};

struct Pulled {
  std::string folder;  // the snapshot, or the local folder
  std::vector<PulledFile> files;
};

// Errors: those of the hub and of download_blob(), io (no space, with how much is missing).
Result<Pulled> pull_files(const HubListing& listing, const std::vector<HubEntry>& files, const PullSettings& settings);

}  // namespace moxie

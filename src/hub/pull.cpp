#include "hub/pull.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/digest.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"
#include "core/replace_file.h"
#include "hub/lock_file.h"

namespace moxie {
namespace fs = std::filesystem;
namespace {

std::optional<uint64_t> size_of(const std::string& path) {
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  return error ? std::nullopt : std::optional(bytes);
}

Result<void> make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(ErrorCode::io, "{}: cannot make the folder: {}", path, error.message());
  return {};
}

// As replace_file(), but for whoever may read the folder: caches are shared. The temporary name lies in `folder`.
Result<void> write_shared(const std::string& folder, const std::string& path, std::string_view text) {
  const std::string temporary = join_path(folder, fmt::format(".moxie-{}", ::getpid()));
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    if (!file) return fail(ErrorCode::io, "{}: cannot write: {}", temporary, std::strerror(errno));
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error) return fail(ErrorCode::io, "{}: cannot write: {}", path, error.message());
  return {};
}

// Free bytes where `path` is, or will be.
std::optional<uint64_t> free_bytes(fs::path path) {
  std::error_code error;
  path = fs::absolute(path, error);
  while (!fs::exists(path, error) && path.has_parent_path() && path != path.parent_path()) path = path.parent_path();
  const fs::space_info space = fs::space(path, error);
  return error ? std::nullopt : std::optional<uint64_t>(space.available);
}

// huggingface_hub's name for a partial file of a local folder: a digest of the metadata file's name.
std::string short_hash(std::string_view name) {
  Sha1 sha1;
  sha1.update(name);
  const std::string hex = sha1.hex();
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const auto nibble = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 6) {  // 24 bits: four letters of base 64
    unsigned bits = 0;
    for (size_t j = 0; j < 6; ++j) bits = bits << 4 | (i + j < hex.size() ? nibble(hex[i + j]) : 0);
    for (int shift = 18; shift >= 0; shift -= 6) out += kDigits[bits >> shift & 63];
  }
  out.back() = '=';  // 20 bytes leave one letter over
  return out;
}

// The places of one file, in the cache or in a local folder.
struct Places {
  std::string final_path;  // where its bytes will lie: the blob, or the file
  std::string partial, lock;
};

class Puller {
 public:
  Puller(const HubListing& listing, const std::vector<HubEntry>& files, const PullSettings& settings)
      : listing_(listing),
        files_(files),
        settings_(settings),
        cache_(settings.hub.cache),
        client_(settings.hub, settings.download.retries, settings.cancelled) {}

  Result<Pulled> run() {
    Pulled pulled{.folder = local() ? settings_.local_dir : cache_.snapshot(listing_.repo, listing_.commit)};
    progress_.count = files_.size();
    for (const HubEntry& entry : files_) progress_.total += entry.bytes.value_or(0);
    MOXIE_TRY_VOID(check_space());
    MOXIE_TRY_VOID(prepare_folders());
    for (const HubEntry& entry : files_) {
      ++progress_.number;
      progress_.file = entry.path;
      MOXIE_TRY(PulledFile file, pull(entry));
      finished_ += file.bytes;
      if (file.was_there) progress_.there_before += file.bytes;
      report(0);
      pulled.files.push_back(std::move(file));
    }
    // Last, so that a name never stands for a model of which a part is missing.
    if (!local() && !is_commit(listing_.revision)) {
      MOXIE_TRY_VOID(make_folder(parent_folder(cache_.ref(listing_.repo, listing_.revision))));
      MOXIE_TRY_VOID(write_shared(cache_.repo_folder(listing_.repo), cache_.ref(listing_.repo, listing_.revision),
                                  listing_.commit));
    }
    return pulled;
  }

 private:
  bool local() const { return !settings_.local_dir.empty(); }
  bool keep_what_is_there() const { return !settings_.force && !settings_.verify; }

  std::string visible_path(const std::string& path) const {
    return join_path(local() ? settings_.local_dir : cache_.snapshot(listing_.repo, listing_.commit), path);
  }
  std::string metadata_path(const std::string& path) const {
    return join_path(settings_.local_dir, ".cache/huggingface/download/" + path + ".metadata");
  }

  Places places(const HubFile& file) const {
    if (local()) {
      const std::string metadata = metadata_path(file.path);
      return {.final_path = visible_path(file.path),
              .partial = join_path(parent_folder(metadata),
                                   fmt::format("{}.{}.incomplete", short_hash(file_name(metadata)), file.etag)),
              .lock = metadata.substr(0, metadata.size() - std::string_view("metadata").size()) + "lock"};
    }
    const std::string blob = cache_.blob(listing_.repo, file.etag);
    return {.final_path = blob, .partial = blob + ".incomplete", .lock = cache_.lock(listing_.repo, file.etag)};
  }

  void report(uint64_t of_this_file) {
    progress_.done = finished_ + of_this_file;
    if (settings_.on_progress) settings_.on_progress(progress_);
  }
  void say(std::string_view text) const {
    if (settings_.on_note) settings_.on_note(text);
  }
  bool is_cancelled() const { return settings_.cancelled != nullptr && settings_.cancelled->load(); }

  // Does the file lie here, as far as can be told without asking? The hub's commit pins its content.
  bool is_there(const HubEntry& entry) const {
    const std::string path = visible_path(entry.path);
    const auto bytes = size_of(path);
    if (!bytes || !entry.bytes || *bytes != *entry.bytes) return false;
    return !local() || recorded(entry.path).starts_with(listing_.commit + "\n");
  }
  // What was noted of a file in a local folder: commit, etag, time, a line each.
  std::string recorded(const std::string& path) const {
    auto text = read_small_file(metadata_path(path), 4096);
    return text.ok() ? *text : std::string();
  }

  // Before anything is written. What a broken download left counts as there.
  Result<void> check_space() {
    const std::string folder = local() ? settings_.local_dir : settings_.hub.cache;
    uint64_t needed = 0;
    for (const HubEntry& entry : files_) {
      if (!is_there(entry) || settings_.force) needed += entry.bytes.value_or(0);
    }
    const auto free = free_bytes(folder);
    if (!free || needed <= *free) return {};
    // Exactly, now that it matters: blobs and partial files are found by their etags.
    needed = 0;
    for (const HubEntry& entry : files_) {
      if (is_there(entry) && !settings_.force) continue;
      MOXIE_TRY(const HubFile file, client_.locate(listing_.repo, listing_.commit, entry.path));
      const Places where = places(file);
      const uint64_t have = std::max(size_of(where.partial).value_or(0), size_of(where.final_path).value_or(0));
      needed += file.bytes.value_or(0) - std::min(have, file.bytes.value_or(0));
    }
    if (needed <= *free) return {};
    return fail(ErrorCode::io, "{}: {} are free, but {} are needed: {} are missing; free some space, or {}", folder,
                human_bytes(*free), human_bytes(needed), human_bytes(needed - *free),
                local() ? "give another --local-dir" : "set HF_HUB_CACHE to a folder on another drive");
  }

  Result<void> prepare_folders() {
    constexpr std::string_view kTag =
        "Signature: 8a477f597d28d172789f06886806bc55\n"
        "# A cache of downloaded models: backups may leave it out.\n";
    if (local()) {
      const std::string cache = join_path(settings_.local_dir, ".cache/huggingface");
      MOXIE_TRY_VOID(make_folder(join_path(cache, "download")));
      const std::string ignore = join_path(cache, ".gitignore");
      return is_present(ignore) ? Result<void>{} : write_shared(cache, ignore, "*");
    }
    MOXIE_TRY_VOID(make_folder(join_path(cache_.repo_folder(listing_.repo), "blobs")));
    const std::string tag = join_path(cache_.folder(), "CACHEDIR.TAG");
    return is_present(tag) ? Result<void>{} : write_shared(cache_.folder(), tag, kTag);
  }

  Result<PulledFile> pull(const HubEntry& entry) {
    PulledFile pulled{.path = entry.path, .local_path = visible_path(entry.path)};
    if (keep_what_is_there() && is_there(entry)) {
      pulled.bytes = *entry.bytes;
      pulled.was_there = true;
      return pulled;
    }
    if (is_cancelled()) return fail(ErrorCode::cancelled, "stopped");
    MOXIE_TRY(const HubFile file, client_.locate(listing_.repo, listing_.commit, entry.path));
    const Places where = places(file);
    bool said = false;
    MOXIE_TRY(const LockFile lock, LockFile::take(where.lock, [&]() -> Result<void> {
                if (is_cancelled()) return fail(ErrorCode::cancelled, "stopped");
                if (!said) say(fmt::format("another process is fetching {}: waiting for it", entry.path));
                said = true;
                return {};
              }));
    MOXIE_TRY(pulled.was_there, is_complete(where.final_path, file));
    if (!pulled.was_there) MOXIE_TRY_VOID(fetch(file, where));
    MOXIE_TRY_VOID(local() ? note_metadata(file) : link(file));
    pulled.bytes = size_of(pulled.local_path).value_or(0);
    return pulled;
  }

  // Is what lies under the final name the file?
  Result<bool> is_complete(const std::string& path, const HubFile& file) {
    const auto bytes = size_of(path);
    if (!bytes || settings_.force) return false;
    if (file.bytes && *bytes != *file.bytes) return false;
    // A plain folder is the user's: a file of the same size may be anything, unless it was noted.
    const bool noted = !local() || recorded(file.path).find("\n" + file.etag + "\n") != std::string::npos;
    if (noted && !settings_.verify) return true;
    MOXIE_TRY(const bool right, file_matches_etag(path, file.etag));
    if (!right && settings_.verify) say(fmt::format("{} is damaged: fetching it again", file.path));
    return right;
  }

  Result<void> fetch(const HubFile& file, const Places& where) {
    MOXIE_TRY_VOID(make_folder(parent_folder(where.final_path)));
    MOXIE_TRY_VOID(make_folder(parent_folder(where.partial)));
    for (bool again = false;; again = true) {
      MOXIE_TRY(PartialFile partial, PartialFile::open(where.partial, file.etag, file.bytes));
      if (settings_.force && !again) MOXIE_TRY_VOID(partial.restart());
      const uint64_t resumed = partial.bytes();
      if (resumed > 0) {
        say(fmt::format("{}: going on after {}", file.path, human_bytes(resumed)));
        progress_.there_before += resumed;
      }
      MOXIE_TRY_VOID(copy_from_cache(file, partial));
      MOXIE_TRY_VOID(download_blob(
          settings_.hub, listing_.repo, file, settings_.download, settings_.cancelled,
          [this](uint64_t bytes) { report(bytes); }, partial));
      auto finished = partial.finish(where.final_path);
      if (resumed > 0) progress_.there_before -= resumed;
      // What was gone on with may have been spoilt by a power cut: once more from the beginning.
      if (finished.ok() || resumed == 0 || finished.error().code != ErrorCode::corrupt || again) return finished;
      say(fmt::format("{}: what an earlier download left was damaged; fetching all of it", file.path));
    }
  }

  // What is in the cache need not come again for a local folder.
  Result<void> copy_from_cache(const HubFile& file, PartialFile& partial) {
    if (!local() || settings_.force || partial.bytes() > 0 || !file.bytes) return {};
    const std::string blob = cache_.blob(listing_.repo, file.etag);
    return size_of(blob) == file.bytes ? partial.append_file(blob) : Result<void>{};
  }

  // The snapshot's name for a blob. Renamed into place, so that the name never stands for nothing.
  Result<void> link(const HubFile& file) {
    const std::string name = visible_path(file.path);
    MOXIE_TRY_VOID(make_folder(parent_folder(name)));
    const std::string blob = cache_.blob(listing_.repo, file.etag);
    std::error_code error;
    const fs::path target = fs::path(blob).lexically_relative(parent_folder(name));
    if (fs::read_symlink(name, error) == target) return {};
    const std::string temporary = join_path(cache_.repo_folder(listing_.repo), fmt::format(".moxie-{}", ::getpid()));
    fs::remove(temporary, error);
    fs::create_symlink(target, temporary, error);
    if (error) {  // a file system without links: the snapshot holds the file itself
      fs::rename(blob, name, error);
    } else {
      fs::rename(temporary, name, error);
    }
    if (error) return fail(ErrorCode::io, "{}: cannot be made: {}", name, error.message());
    return {};
  }

  Result<void> note_metadata(const HubFile& file) {
    const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    return write_shared(join_path(settings_.local_dir, ".cache/huggingface"), metadata_path(file.path),
                        fmt::format("{}\n{}\n{}\n", file.commit, file.etag, now));
  }

  const HubListing& listing_;
  const std::vector<HubEntry>& files_;
  const PullSettings& settings_;
  HubCache cache_;
  HubClient client_;
  PullProgress progress_;
  uint64_t finished_ = 0;
};

}  // namespace

Result<Pulled> pull_files(const HubListing& listing, const std::vector<HubEntry>& files, const PullSettings& settings) {
  return Puller(listing, files, settings).run();
}

}  // namespace moxie

#include "engine/block_store.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "core/ascii.h"
#include "core/digest.h"
#include "core/fail.h"
#include "core/file.h"
#include "core/folder.h"
#include "core/new_file.h"
#include "core/xxh64.h"
#include "engine/model_identity.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNameDigits = 32, kMostTokens = 64;

struct BlockHeader {
  std::array<char, 8> magic = {'m', 'o', 'x', 'i', 'e', 'k', 'v', '1'};
  uint64_t data_bytes = 0;
  std::array<char, kFingerprintDigits> fingerprint{};
  std::array<char, kNameDigits> name{};
  uint64_t tokens = 0;
  std::array<int32_t, kMostTokens> ids{};
  uint64_t checksum = 0;  // of this with 0 here, then the data
};

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && is_lower_hex(text);
}

BlockHeader header_of(std::string_view fingerprint, std::string_view name, std::span<const int32_t> tokens,
                      uint64_t data_bytes) {
  BlockHeader header;
  header.data_bytes = data_bytes;
  std::copy_n(fingerprint.begin(), std::min(fingerprint.size(), kFingerprintDigits), header.fingerprint.begin());
  std::copy_n(name.begin(), std::min(name.size(), kNameDigits), header.name.begin());
  header.tokens = tokens.size();
  std::copy_n(tokens.begin(), std::min(tokens.size(), kMostTokens), header.ids.begin());
  return header;
}

static_assert(sizeof(BlockHeader) == 336, "no padding, which would be checked with the rest");

uint64_t checksum_of(BlockHeader header, std::span<const std::byte> data) {
  header.checksum = 0;
  Xxh64 hash;
  hash.update(std::as_bytes(std::span(&header, 1)));
  hash.update(data);
  return hash.digest();
}

}  // namespace

std::string BlockStore::name_of(std::string_view parent, std::span<const int32_t> tokens) {
  Sha256 hash;
  hash.update(parent);
  hash.update(std::as_bytes(tokens));
  return hash.hex().substr(0, kNameDigits);
}

Result<std::unique_ptr<BlockStore>> BlockStore::open(const std::string& folder, const std::string& fingerprint,
                                                     uint64_t max_bytes, Log& log) {
  const fs::path own = fs::path(folder) / fingerprint;
  std::error_code failed;
  for (const fs::path& made : {fs::path(folder), own}) {
    const bool is_new = fs::create_directories(made, failed);
    if (failed) {
      return fail(is_present(folder) && !is_folder(folder) ? ErrorCode::invalid_argument : ErrorCode::io,
                  "{}: cannot be made a folder for the prefix cache: {}", made.string(), failed.message());
    }
    if (is_new) fs::permissions(made, fs::perms::owner_all, failed);
  }
  auto store = std::unique_ptr<BlockStore>(new BlockStore(folder, fingerprint, max_bytes, log));
  store->list_all();
  store->trim();
  store->thread_ = std::thread([raw = store.get()] { raw->write_all(); });
  return store;
}

BlockStore::~BlockStore() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::string BlockStore::path_of(const std::string& name) const {
  return join_path(join_path(folder_, fingerprint_), name);
}

// Only files that look like ours are ever touched.
void BlockStore::list_all() {
  struct Found {
    fs::file_time_type time;
    std::string key, path;
    uint64_t bytes;
  };
  std::vector<Found> all;
  std::error_code ignored;
  for (const auto& folder : fs::directory_iterator(folder_, ignored)) {
    const std::string fingerprint = folder.path().filename().string();
    if (!is_hex(fingerprint, kFingerprintDigits) || !folder.is_directory(ignored)) continue;
    for (const auto& file : fs::directory_iterator(folder.path(), ignored)) {
      const std::string name = file.path().filename().string();
      if (!is_hex(name, kNameDigits) || !file.is_regular_file(ignored)) continue;
      std::error_code gone;
      const auto time = file.last_write_time(gone);
      const uint64_t bytes = file.file_size(gone);
      if (gone) continue;
      all.push_back({time, fingerprint == fingerprint_ ? name : file.path().string(), file.path().string(), bytes});
    }
  }
  std::sort(all.begin(), all.end(), [](const Found& a, const Found& b) { return a.time > b.time; });
  for (Found& found : all) remember(found.key, std::move(found.path), found.bytes, false);
}

void BlockStore::remember(const std::string& key, std::string path, uint64_t bytes, bool latest) {
  const auto [at, is_new] = entries_.try_emplace(key);
  if (!is_new) return;
  at->second = {std::move(path), bytes, used_.insert(latest ? used_.begin() : used_.end(), key)};
  bytes_ += bytes;
}

void BlockStore::remove(const std::string& key) {
  const auto at = entries_.find(key);
  std::error_code ignored;
  fs::remove(at->second.path, ignored);
  bytes_ -= at->second.bytes;
  used_.erase(at->second.used);
  entries_.erase(at);
}

void BlockStore::trim() {
  while (bytes_ > max_bytes_) remove(std::string(used_.back()));
}

bool BlockStore::load(const std::string& name, std::span<const int32_t> tokens, std::span<std::byte> into) {
  const auto at = entries_.find(name);
  if (at == entries_.end()) return false;
  const std::string path = at->second.path;
  auto file = File::open(path);
  if (!file.ok()) {
    remove(name);  // another process needed the room
    return false;
  }
  BlockHeader header;
  std::string why;
  if (file->bytes() != sizeof header + into.size()) {
    why = fmt::format("it has {} bytes, not {}", file->bytes(), sizeof header + into.size());
  } else if (auto read = file->read_at(0, std::as_writable_bytes(std::span(&header, 1))); !read.ok()) {
    why = read.error().message;
  } else if (read = file->read_at(sizeof header, into); !read.ok()) {
    why = read.error().message;
  } else {
    BlockHeader expected = header_of(fingerprint_, name, tokens, into.size());
    expected.checksum = checksum_of(expected, into);
    if (std::memcmp(&expected, &header, sizeof header) != 0)
      why = "its checksum or its tokens are not those it should have";
  }
  if (!why.empty()) {
    ++damaged_;
    log_.write(LogLevel::warning,
               fmt::format("{}: a damaged block of the prefix cache is ignored and removed: {}", path, why));
    remove(name);
    return false;
  }
  used_.splice(used_.begin(), used_, at->second.used);
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  return true;
}

bool BlockStore::save(const std::string& name, std::span<const int32_t> tokens, std::span<const std::byte> data,
                      int32_t block) {
  if (entries_.contains(name) || tokens.size() > kMostTokens || sizeof(BlockHeader) + data.size() > max_bytes_)
    return false;
  {
    const std::lock_guard lock(mutex_);
    if (failed_) return false;
    waiting_.push_back({name, {tokens.begin(), tokens.end()}, data, block});
  }
  changed_.notify_all();
  remember(name, path_of(name), sizeof(BlockHeader) + data.size(), true);
  trim();
  return true;
}

std::vector<int32_t> BlockStore::written(Wait wait) {
  std::unique_lock lock(mutex_);
  if (wait != Wait::none) {
    const size_t few = wait == Wait::all ? 0 : kFewWrites;
    changed_.wait(lock, [&] { return waiting_.size() <= few && (few > 0 || !writing_); });
  }
  return std::exchange(ended_, {});
}

void BlockStore::write_all() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const Write next = std::move(waiting_.front());
    waiting_.pop_front();
    writing_ = true;
    Result<void> done;
    if (!failed_) {
      lock.unlock();
      done = write(next);
      lock.lock();
    }
    writing_ = false;
    ended_.push_back(next.block);
    if (!done.ok()) {
      failed_ = true;
      log_.notice(fmt::format("the prefix cache is no longer kept on disk: {}", done.error().message));
    }
    changed_.notify_all();
  }
}

Result<void> BlockStore::write(const Write& write) const {
  BlockHeader header = header_of(fingerprint_, write.name, write.tokens, write.data.size());
  header.checksum = checksum_of(header, write.data);
  MOXIE_TRY(NewFile file,
            NewFile::create(path_of(write.name), sizeof header + write.data.size(), NewFile::Overwrite::yes));
  MOXIE_TRY_VOID(file.write_at(0, std::as_bytes(std::span(&header, 1))));
  MOXIE_TRY_VOID(file.write_at(sizeof header, write.data));
  return file.commit();
}

}  // namespace moxie

// Blocks of the prefix cache in files, between runs: one file a block, in a folder for each fingerprint (model,
// kernels, kind of cache), so that only what this engine would compute bit for bit is ever read. Every file carries its
// tokens and a checksum; what is damaged is removed and said. Bounded: the files that were used longest ago go first. A
// thread of its own writes. Functions are for one thread, but for what they say; the files may be shared by several
// processes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/log.h"
#include "moxie/error.h"

namespace moxie {

class BlockStore {
 public:
  // Missing folders are made, for this user alone. Errors: io, invalid_argument where there is a file instead.
  static Result<std::unique_ptr<BlockStore>> open(const std::string& folder, const std::string& fingerprint,
                                                  uint64_t max_bytes, Log& log);
  ~BlockStore();  // writes what waits

  // 32 hexadecimal digits that stand for these tokens and all before them.
  static std::string name_of(std::string_view parent, std::span<const int32_t> tokens);

  bool has(const std::string& name) const { return entries_.contains(name); }
  // False: it is not there any more, or was damaged. `into` is then undefined.
  bool load(const std::string& name, std::span<const int32_t> tokens, std::span<std::byte> into);
  // Starts to write; `data` must stay until `block` comes back from written(). False: it is there already, or nothing
  // can be written any more.
  bool save(const std::string& name, std::span<const int32_t> tokens, std::span<const std::byte> data, int32_t block);
  // Blocks whose writes have ended since the last call; waits for all of them, or until few are left to write.
  enum class Wait : uint8_t { none, some, all };
  std::vector<int32_t> written(Wait wait);

  uint64_t bytes() const { return bytes_; }
  uint64_t damaged() const { return damaged_; }

 private:
  struct Entry {
    std::string path;
    uint64_t bytes = 0;
    std::list<std::string>::iterator used;
  };
  struct Write {
    std::string name;
    std::vector<int32_t> tokens;
    std::span<const std::byte> data;
    int32_t block;
  };
  static constexpr size_t kFewWrites = 64;

  BlockStore(std::string folder, std::string fingerprint, uint64_t max_bytes, Log& log)
      : folder_(std::move(folder)), fingerprint_(std::move(fingerprint)), max_bytes_(max_bytes), log_(log) {}
  void list_all();
  void remember(const std::string& key, std::string path, uint64_t bytes, bool latest);
  void remove(const std::string& key);
  void trim();
  std::string path_of(const std::string& name) const;
  void write_all();
  Result<void> write(const Write& write) const;

  const std::string folder_, fingerprint_;
  const uint64_t max_bytes_;
  Log& log_;
  // By name, those of other fingerprints by their paths: they count, and go when they are the oldest.
  std::unordered_map<std::string, Entry> entries_;
  std::list<std::string> used_;  // latest first
  uint64_t bytes_ = 0, damaged_ = 0;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<Write> waiting_;
  std::vector<int32_t> ended_;
  bool writing_ = false, stop_ = false, failed_ = false;
  std::thread thread_;
};

}  // namespace moxie

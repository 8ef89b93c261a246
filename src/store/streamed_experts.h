// Experts under a budget: a fixed pool of slots, filled from the weight files as layers ask, straight from the disk.
// The cache table decides which experts stay; this class gives them places and bytes. Thread-safe: several leases may
// live at once, and none waits for another's slots while it holds experts that it has not computed.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "core/disk_reader.h"
#include "core/prefault.h"
#include "store/cache_table.h"
#include "store/expert_store.h"
#include "store/slot_layout.h"

namespace moxie {

// An expert as its files hold it: shapes and types without data, and the ranges of its projections.
struct ExpertSource {
  ExpertView view;
  ExpertRanges ranges;
  std::optional<std::array<uint64_t, 3>> checksums;  // XXH64 of each range, where there are three and the file tells

  uint64_t bytes() const { return ranges.bytes(); }
};

struct StreamCounts {
  uint64_t hits = 0, misses = 0;  // accesses: one per layer and expert of a step
  uint64_t demand_reads = 0;      // experts read because a layer wanted them
  uint64_t lookahead_reads = 0;   // experts read because a router guessed them
  uint64_t lookahead_useful = 0;  // guessed, and in memory when they were wanted
  uint64_t lookahead_late = 0;    // guessed, and still being read when they were wanted
  uint64_t lookahead_wasted = 0;  // guessed and not wanted
  double stall_seconds = 0;       // computing waited for the disk
};

// An expert of the hot set, as it is saved and restored.
struct KnownExpert {
  int32_t layer = 0, id = 0;
  double count = 0;  // decayed uses
  int64_t age = 0;   // events of its layer since the last one
  bool resident = false;
};

class StreamedExperts final : public ExpertStore {
 public:
  // sources[layer][id]; empty for layers without a mixture. The reader has the files of their ranges and outlives the
  // store. verify: checksums are compared after every read, not only after those that had to be repeated; an expert is
  // then usable once all of it is there. Bytes that are wrong are read once more, then they are an Error corrupt.
  // Errors: out_of_memory when the pool cannot be reserved.
  static Result<std::unique_ptr<StreamedExperts>> create(DiskReader& reader,
                                                         std::vector<std::vector<ExpertSource>> sources,
                                                         const PoolLayout& layout, const PolicyEntry& policy,
                                                         bool verify = false);
  ~StreamedExperts() override;

  Result<ExpertLease> lease(const ExpertRequest& request) override;
  int64_t look_ahead(int64_t layer, std::span<const int32_t> ids, Guess kind) override;
  bool wants_look_ahead(Guess kind) const override {
    return look_ahead_[static_cast<size_t>(kind)].load(std::memory_order_relaxed);
  }
  void set_look_ahead(Guess kind, bool wanted) {
    look_ahead_[static_cast<size_t>(kind)].store(wanted, std::memory_order_relaxed);
  }

  // Reads every expert that can stay, in file order, and waits; `arrange` may put the bytes of each in another order
  // while others are read. false from on_progress gives up (Error cancelled). REQUIRES: with `arrange` the pool is complete.
  Result<void> load_all(const std::function<bool(uint64_t done, uint64_t total)>& on_progress,
                        const std::function<void(ExpertView& view)>& arrange = {});
  // Makes what is known of an earlier run known again; its residents are read in file order while the disk has nothing
  // better to do. Unknown layers and ids are skipped; returns the number of experts that are being read.
  int64_t restore(std::span<const KnownExpert> known);
  // Every expert that was ever used, by layer and id.
  std::vector<KnownExpert> known() const;
  // Errors: invalid_argument for an expert that does not exist, or where fewer than `used` places of the layer would
  // stay free.
  Result<void> pin(std::span<const KnownExpert> pins, int used);

  Presence presence(int64_t layer, int32_t id) const override;
  StreamCounts counts() const;
  const CacheTable& table() const { return table_; }  // REQUIRES: no lease lives
  const PoolLayout& layout() const { return layout_; }

 private:
  enum class State : uint8_t { absent, reading, ready, failed };
  struct Entry {
    ExpertView view;  // data is set while it has a slot
    ExpertRanges ranges;
    std::optional<std::array<uint64_t, 3>> checksums;
    SlotShape shape;
    int32_t slot = -1;
    int32_t refs = 0;       // leases that hold it
    int32_t computing = 0;  // of these, those that compute with its gate and up while its down is on its way
    State state = State::absent;
    bool guessed = false;   // read for a guess that no lease has confirmed
    bool reread = false;    // its bytes were wrong once
    uint64_t begun_by = 0;  // the lease that had it read; 0: none

    // How many ranges of its read gate and up need, and how many there are.
    int gate_and_up() const { return ranges.ends[1]; }
    int all() const { return ranges.ends[2]; }
  };
  struct Slot {
    std::byte* data = nullptr;
    ReadTask task;
    Entry* holder = nullptr;
    bool leaving = false;  // its read was given up, and pieces in flight still write to it
  };

  StreamedExperts(DiskReader& reader, const PoolLayout& layout, std::span<const int> experts, const PolicyEntry& policy,
                  bool verify)
      : reader_(reader), layout_(layout), verify_(verify), table_(experts, layout.kept, policy) {}
  Result<void> build(std::vector<std::vector<ExpertSource>> sources);

  Result<size_t> wait(ExpertLease& lease, size_t first) override;
  Result<void> wait_down(ExpertLease& lease, size_t first, size_t count) override;
  const ExpertView& view(int64_t layer, int32_t id) const override { return entry(layer, id).view; }
  void release(ExpertLease& lease, size_t end) override;

  // All of these: REQUIRES mutex_ is held.
  int rank(const Entry& entry) const;
  void order(const ExpertRequest& request);
  void sweep(int64_t layer);
  void hold(ExpertLease& lease);
  void start(ExpertLease& lease);
  bool start_read(int64_t layer, Entry& entry, ReadPriority priority, bool may_reclaim);
  int32_t take_slot(size_t group, bool may_reclaim);
  size_t class_of(int32_t slot) const;
  void collect(size_t group);
  void reclaim_guess(size_t group);
  Slot* leaving_slot(size_t group);
  void wait_for_slot(const ExpertLease& lease, std::unique_lock<std::mutex>& lock);
  void drop(Entry& entry);
  bool must_check(const Entry& entry) const;
  int wrong_range(const Entry& entry) const;
  bool finish(Entry& entry);
  Error damaged(const Entry& entry) const;
  Result<void> arrived(ExpertLease& lease, Entry& entry, int ranges, bool may_reread,
                       std::unique_lock<std::mutex>& lock);
  void release_some(ExpertLease& lease, size_t end);
  void hand_out(ExpertLease& lease, size_t first, size_t end);

  Entry& entry(int64_t layer, int32_t id) { return entries_[static_cast<size_t>(layer)][static_cast<size_t>(id)]; }
  const Entry& entry(int64_t layer, int32_t id) const {
    return entries_[static_cast<size_t>(layer)][static_cast<size_t>(id)];
  }
  Entry& entry_of(const ExpertLease& lease, size_t i) { return entry(lease.request_.layer, lease.request_.ids[i]); }

  DiskReader& reader_;
  PoolLayout layout_;
  const bool verify_;
  mutable std::mutex mutex_;
  std::condition_variable freed_;  // a slot became free
  CacheTable table_;
  Buffer memory_;
  std::unique_ptr<Prefault> pages_;  // of memory_
  std::vector<std::vector<Entry>> entries_;
  std::unique_ptr<Slot[]> slots_;
  int32_t slot_count_ = 0;
  std::vector<int32_t> class_begin_;        // first slot of each class, and the end of the last one
  std::vector<std::vector<int32_t>> free_;  // by class
  uint64_t leases_ = 0;
  StreamCounts counts_;
  std::array<std::atomic<bool>, 2> look_ahead_{};  // by kind of guess
};

}  // namespace moxie

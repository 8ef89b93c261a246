#include "store/streamed_experts.h"

#include <algorithm>
#include <chrono>

#include "core/check.h"
#include "core/fail.h"
#include "core/xxh64.h"

namespace moxie {
namespace {

constexpr int kPrefaultThreads = 2;
constexpr auto kSlotPatience = std::chrono::milliseconds(20);

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool stopped(const ExpertRequest& request) {
  return request.stop != nullptr && request.stop->load(std::memory_order_relaxed);
}

}  // namespace

Result<std::unique_ptr<StreamedExperts>> StreamedExperts::create(DiskReader& reader,
                                                                 std::vector<std::vector<ExpertSource>> sources,
                                                                 const PoolLayout& layout, const PolicyEntry& policy,
                                                                 bool verify) {
  std::vector<int> experts;
  for (const auto& layer : sources) experts.push_back(static_cast<int>(layer.size()));
  auto store = std::unique_ptr<StreamedExperts>(new StreamedExperts(reader, layout, experts, policy, verify));
  MOXIE_TRY_VOID(store->build(std::move(sources)));
  return store;
}

Result<void> StreamedExperts::build(std::vector<std::vector<ExpertSource>> sources) {
  uint64_t bytes = 0;
  for (const PoolLayout::Class& group : layout_.classes) {
    bytes +=
        (group.slot_bytes * static_cast<uint64_t>(group.slots) + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    slot_count_ += group.slots;
  }
  MOXIE_TRY(memory_, Buffer::allocate(bytes + kHugePageBytes));
  slots_ = std::make_unique<Slot[]>(static_cast<size_t>(slot_count_));
  const uint64_t misaligned = reinterpret_cast<uintptr_t>(memory_.data()) % kHugePageBytes;
  std::byte* at = memory_.data() + (kHugePageBytes - misaligned) % kHugePageBytes;
  pages_ = std::make_unique<Prefault>(std::span(at, bytes), kPrefaultThreads);
  int32_t slot = 0;
  for (const PoolLayout::Class& group : layout_.classes) {
    class_begin_.push_back(slot);
    std::vector<int32_t>& free = free_.emplace_back();
    for (int i = 0; i < group.slots; ++i)
      slots_[static_cast<size_t>(slot + i)].data = at + static_cast<uint64_t>(i) * group.slot_bytes;
    for (int i = group.slots; i > 0; --i) free.push_back(slot + i - 1);  // taken from the back: lowest addresses first
    slot += group.slots;
    at +=
        (group.slot_bytes * static_cast<uint64_t>(group.slots) + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  }
  class_begin_.push_back(slot);
  for (size_t layer = 0; layer < sources.size(); ++layer) {
    std::vector<Entry>& entries = entries_.emplace_back();
    for (ExpertSource& source : sources[layer]) {
      const SlotShape shape = shape_slot(source.ranges, reader_.alignment());
      const size_t group = static_cast<size_t>(layout_.class_of[layer]);
      if (shape.bytes > layout_.classes[group].slot_bytes) {
        return fail(ErrorCode::internal, "layer {}: an expert of {} bytes does not fit its slot of {}", layer,
                    shape.bytes, layout_.classes[group].slot_bytes);
      }
      entries.push_back(
          {.view = std::move(source.view), .ranges = source.ranges, .checksums = source.checksums, .shape = shape});
    }
  }
  return {};
}

StreamedExperts::~StreamedExperts() {
  const std::lock_guard lock(mutex_);
  for (int32_t i = 0; i < slot_count_; ++i) reader_.cancel(slots_[static_cast<size_t>(i)].task);
}

// ---- leases ----

Result<ExpertLease> StreamedExperts::lease(const ExpertRequest& request) {
  const std::lock_guard lock(mutex_);
  const bool prompt = !request.last_choice.empty();
  const auto hits = table_.event(request.layer, request.ids, prompt ? EventKind::prefill : EventKind::decode);
  for (const uint8_t hit : hits) ++(hit != 0 ? counts_.hits : counts_.misses);
  if (prompt) {
    for (const uint8_t hit : table_.event(request.layer, request.last_choice, EventKind::decode)) {
      ++(hit != 0 ? counts_.hits : counts_.misses);
    }
  }
  for (const int32_t id : request.ids) {
    Entry& wanted = entry(request.layer, id);
    if (wanted.state == State::reading && reader_.arrived(slots_[static_cast<size_t>(wanted.slot)].task, wanted.all()))
      finish(wanted);
    if (std::exchange(wanted.guessed, false))
      ++(wanted.state == State::ready ? counts_.lookahead_useful : counts_.lookahead_late);
    if (wanted.state == State::reading) reader_.promote(slots_[static_cast<size_t>(wanted.slot)].task);
  }
  order(request);
  ExpertLease lease(*this, request);
  lease.serial_ = ++leases_;
  hold(lease);
  sweep(request.layer);
  start(lease);
  return lease;
}

// Experts of the layer that nobody holds and that are not to stay: evicted ones, and guesses that were wrong.
void StreamedExperts::sweep(int64_t layer) {
  std::vector<Entry>& entries = entries_[static_cast<size_t>(layer)];
  for (size_t id = 0; id < entries.size(); ++id) {
    Entry& candidate = entries[id];
    if (candidate.slot >= 0 && candidate.refs == 0 && !table_.resident(layer, static_cast<int32_t>(id)))
      drop(candidate);
  }
}

// In memory first, then what is on its way, then the missing: these as they come, a prompt's in file order.
int StreamedExperts::rank(const Entry& entry) const {
  return entry.state == State::ready ? 0 : entry.state == State::reading ? 1 : 2;
}

void StreamedExperts::order(const ExpertRequest& request) {
  const bool by_file = !request.last_choice.empty();
  const auto before = [&](int32_t a, int32_t b) {
    const Entry &x = entry(request.layer, a), &y = entry(request.layer, b);
    if (rank(x) != rank(y)) return rank(x) < rank(y);
    return by_file && std::pair(x.ranges[0].file, x.ranges[0].offset) < std::pair(y.ranges[0].file, y.ranges[0].offset);
  };
  // Insertion: stable, few ids, no memory.
  for (size_t i = 1; i < request.ids.size(); ++i) {
    const int32_t id = request.ids[i];
    size_t at = i;
    for (; at > 0 && before(id, request.ids[at - 1]); --at) request.ids[at] = request.ids[at - 1];
    request.ids[at] = id;
  }
}

// Takes hold of the lease's next experts that have a place. Those behind the first one without are not held: a lease
// that waits for a place must not keep others from giving theirs back.
void StreamedExperts::hold(ExpertLease& lease) {
  for (; lease.started_ < lease.size(); ++lease.started_) {
    Entry& next = entry_of(lease, lease.started_);
    if (next.state == State::absent) return;
    ++next.refs;
  }
}

// Gives places to the lease's experts in their order, as far as there are free ones.
void StreamedExperts::start(ExpertLease& lease) {
  for (hold(lease); lease.started_ < lease.size(); hold(lease)) {
    Entry& next = entry_of(lease, lease.started_);
    // Guesses give way to a decode step at once. A prompt waits for its own slots to come back: what was guessed for it
    // will be wanted.
    const bool may_reclaim = lease.request_.last_choice.empty() || lease.started_ == lease.released_;
    if (!start_read(lease.request_.layer, next, ReadPriority::demand, may_reclaim)) return;
    next.begun_by = lease.serial_;
    ++counts_.demand_reads;
  }
}

bool StreamedExperts::start_read(int64_t layer, Entry& wanted, ReadPriority priority, bool may_reclaim) {
  const int32_t index = take_slot(static_cast<size_t>(layout_.class_of[static_cast<size_t>(layer)]), may_reclaim);
  if (index < 0) return false;
  Slot& slot = slots_[static_cast<size_t>(index)];
  slot.holder = &wanted;
  wanted.slot = index;
  wanted.state = State::reading;
  wanted.begun_by = 0;
  wanted.reread = false;
  Matrix* const matrices[] = {&wanted.view.gate, &wanted.view.up, &wanted.view.down};
  slot.task.range_count = wanted.all();
  for (size_t i = 0, projection = 0; i < wanted.ranges.size(); ++i) {
    while (i == wanted.ranges.ends[projection]) ++projection;
    matrices[projection]->set_part(i - wanted.ranges.first_of(projection), slot.data + wanted.shape.at[i]);
    slot.task.ranges[i] = {.file = wanted.ranges[i].file,
                           .offset = wanted.ranges[i].offset,
                           .bytes = wanted.ranges[i].bytes,
                           .into = slot.data + wanted.shape.at[i]};
  }
  if (wanted.ranges.ends[1] == wanted.ranges.ends[0]) {
    for (size_t part = 0; part < wanted.ranges.ends[0]; ++part)
      wanted.view.up.set_part(part, slot.data + wanted.shape.at[part]);
  }
  reader_.submit(slot.task, priority);
  return true;
}

int32_t StreamedExperts::take_slot(size_t group, bool may_reclaim) {
  if (free_[group].empty()) collect(group);
  if (free_[group].empty() && may_reclaim) reclaim_guess(group);
  if (free_[group].empty()) return -1;
  const int32_t index = free_[group].back();
  free_[group].pop_back();
  return index;
}

size_t StreamedExperts::class_of(int32_t slot) const {
  size_t group = 0;
  while (class_begin_[group + 1] <= slot) ++group;
  return group;
}

// Slots whose last pieces have landed since their reads were given up.
void StreamedExperts::collect(size_t group) {
  for (int32_t i = class_begin_[group]; i < class_begin_[group + 1]; ++i) {
    Slot& slot = slots_[static_cast<size_t>(i)];
    if (!slot.leaving || !reader_.idle(slot.task)) continue;
    slot.leaving = false;
    free_[group].push_back(i);
  }
}

// Guesses give way to what is wanted now: one whose slot is free at once, else one that is being read, unless such a
// slot is on its way.
void StreamedExperts::reclaim_guess(size_t group) {
  Entry* reading = nullptr;
  for (int32_t i = class_begin_[group]; i < class_begin_[group + 1]; ++i) {
    const Slot& slot = slots_[static_cast<size_t>(i)];
    if (slot.holder == nullptr || !slot.holder->guessed || slot.holder->refs > 0) continue;
    if (reader_.idle(slot.task)) return drop(*slot.holder);
    if (reading == nullptr) reading = slot.holder;
  }
  if (reading != nullptr && leaving_slot(group) == nullptr) drop(*reading);
}

StreamedExperts::Slot* StreamedExperts::leaving_slot(size_t group) {
  for (int32_t i = class_begin_[group]; i < class_begin_[group + 1]; ++i) {
    if (slots_[static_cast<size_t>(i)].leaving) return &slots_[static_cast<size_t>(i)];
  }
  return nullptr;
}

void StreamedExperts::drop(Entry& entry) {
  MOXIE_DCHECK(entry.refs == 0 && entry.slot >= 0);
  Slot& slot = slots_[static_cast<size_t>(entry.slot)];
  if (std::exchange(entry.guessed, false)) ++counts_.lookahead_wasted;
  slot.holder = nullptr;
  // Whoever drops does not wait: a drive that hangs must not hold up a cancelled request, nor a wrong guess the reads
  // that are wanted.
  if (entry.state == State::reading) reader_.give_up(slot.task);
  slot.leaving = !reader_.idle(slot.task);
  if (!slot.leaving) free_[class_of(entry.slot)].push_back(entry.slot);
  entry.slot = -1;
  entry.state = State::absent;
}

// Checksums cost about a tenth of a second for a gigabyte, so they are compared where that was asked for or where a
// read went wrong.
bool StreamedExperts::must_check(const Entry& entry) const {
  return entry.checksums && (verify_ || entry.reread || reader_.retried(slots_[static_cast<size_t>(entry.slot)].task));
}

// The first projection whose bytes are not what its checksum says; -1: none.
int StreamedExperts::wrong_range(const Entry& entry) const {
  const Matrix* const matrices[] = {&entry.view.gate, &entry.view.up, &entry.view.down};
  for (size_t i = 0; i < entry.checksums->size(); ++i) {
    if (xxh64({matrices[i]->data, entry.ranges[i].bytes}) != (*entry.checksums)[i]) return static_cast<int>(i);
  }
  return -1;
}

// All of it has arrived. false: its bytes are wrong.
bool StreamedExperts::finish(Entry& entry) {
  if (must_check(entry) && wrong_range(entry) >= 0) return false;
  entry.state = State::ready;
  return true;
}

Error StreamedExperts::damaged(const Entry& entry) const {
  constexpr const char* kNames[] = {"gate", "up", "down"};
  const auto range = static_cast<size_t>(std::max(wrong_range(entry), 0));
  size_t layer = 0, id = 0;
  while (entries_[layer].empty() || &entry < entries_[layer].data() || &entry > &entries_[layer].back()) ++layer;
  while (&entries_[layer][id] != &entry) ++id;
  return fail(ErrorCode::corrupt,
              "{}: expert {} of layer {}: the bytes of its {} projection ({} at {}) do not have their checksum; copy "
              "the file again, or convert "
              "its source again",
              reader_.file_path(entry.ranges[range].file), id, layer, kNames[range], entry.ranges[range].bytes,
              entry.ranges[range].offset);
}

Result<size_t> StreamedExperts::wait(ExpertLease& lease, size_t first) {
  std::unique_lock lock(mutex_);
  const auto begin = Clock::now();
  const auto is_usable = [&](Entry& e) {
    if (e.state != State::reading) return e.state == State::ready;
    const bool checked = must_check(e);
    return reader_.arrived(slots_[static_cast<size_t>(e.slot)].task, checked ? e.all() : e.gate_and_up()) &&
           (!checked || finish(e));
  };
  for (bool waited = false;; waited = true) {
    start(lease);
    size_t count = 0;
    while (first + count < lease.started_ && is_usable(entry_of(lease, first + count))) ++count;
    if (count > 0) {
      if (waited) counts_.stall_seconds += seconds_since(begin);
      hand_out(lease, first, first + count);
      return count;
    }
    if (stopped(lease.request_)) return fail(ErrorCode::cancelled, "cancelled");
    if (first == lease.started_) {
      wait_for_slot(lease, lock);
      continue;
    }
    Entry& next = entry_of(lease, first);
    MOXIE_TRY_VOID(arrived(lease, next, must_check(next) ? next.all() : next.gate_and_up(), true, lock));
  }
}

// Every slot of the class is either leaving, or held by other leases, which give it back once they have computed what
// they hold. Returns after a while at the latest.
void StreamedExperts::wait_for_slot(const ExpertLease& lease, std::unique_lock<std::mutex>& lock) {
  const Slot* leaving = leaving_slot(static_cast<size_t>(layout_.class_of[static_cast<size_t>(lease.request_.layer)]));
  if (leaving == nullptr) {
    freed_.wait_for(lock, kSlotPatience);
    return;
  }
  lock.unlock();
  reader_.wait_idle(leaving->task, kSlotPatience);
  lock.lock();
}

// Waits for a read, without the lock meanwhile: the slot is ours while we hold a reference. Once all of it is there, it
// is ready. may_reread: nobody has computed with its bytes.
Result<void> StreamedExperts::arrived(ExpertLease& lease, Entry& entry, int ranges, bool may_reread,
                                      std::unique_lock<std::mutex>& lock) {
  ReadTask& task = slots_[static_cast<size_t>(entry.slot)].task;
  for (;;) {
    lock.unlock();
    auto result = reader_.wait(task, ranges, lease.request_.stop);
    lock.lock();
    const bool here = result.ok();
    if (here && (ranges < entry.all() || entry.state == State::ready)) return result;
    if (!here && result.error().code == ErrorCode::cancelled) return result;
    if (here && !reader_.arrived(task, entry.all())) continue;  // somebody has it read again
    if (here && finish(entry)) return result;
    const bool ours = entry.begun_by == lease.serial_;
    // Other leases may compute with what they think is right: then it is not read again under their hands.
    const bool again = here ? may_reread && entry.refs == 1 && !(ours && entry.reread) : !ours;
    if (!again) {
      entry.state = State::failed;
      if (here) result = damaged(entry);
      return result;
    }
    // It failed for somebody before us, or for a guess: we try ourselves, unless another lease does so by now.
    if (!here && !reader_.failed(task)) continue;
    if (entry.computing > 0) {  // with what had arrived: not now
      if (stopped(lease.request_)) return fail(ErrorCode::cancelled, "cancelled");
      freed_.wait_for(lock, kSlotPatience);
      continue;
    }
    entry.reread = entry.reread || here;
    entry.begun_by = lease.serial_;
    entry.state = State::reading;
    reader_.submit(task, ReadPriority::demand);
  }
}

// The lease computes with these from now on, with those before no more.
void StreamedExperts::hand_out(ExpertLease& lease, size_t first, size_t end) {
  for (size_t i = lease.computing_begin_; i < lease.computing_end_; ++i) --entry_of(lease, i).computing;
  for (size_t i = first; i < end; ++i) ++entry_of(lease, i).computing;
  lease.computing_begin_ = first;
  lease.computing_end_ = end;
}

Result<void> StreamedExperts::wait_down(ExpertLease& lease, size_t first, size_t count) {
  {
    const std::lock_guard lock(mutex_);
    hand_out(lease, first, first);
  }
  for (size_t i = first; i < first + count; ++i) {
    std::unique_lock lock(mutex_);
    Entry& next = entry_of(lease, i);
    if (next.state == State::ready) continue;
    const auto begin = Clock::now();
    auto complete = arrived(lease, next, next.all(), false, lock);
    counts_.stall_seconds += seconds_since(begin);
    MOXIE_TRY_VOID(std::move(complete));
  }
  return {};
}

void StreamedExperts::release(ExpertLease& lease, size_t end) {
  const std::lock_guard lock(mutex_);
  hand_out(lease, end, end);
  release_some(lease, end);
  if (end < lease.size()) start(lease);
  freed_.notify_all();
}

void StreamedExperts::release_some(ExpertLease& lease, size_t end) {
  const int64_t layer = lease.request_.layer;
  for (; lease.released_ < end; ++lease.released_) {
    Entry& done = entry_of(lease, lease.released_);
    if (lease.released_ < lease.started_) --done.refs;
    if (done.refs > 0) continue;
    const int32_t id = lease.id(lease.released_);
    const bool usable = done.state == State::ready || done.state == State::reading;
    // A read that failed or never began: the next one who wants it misses it.
    if (!usable) table_.forget(layer, id);
    if (done.slot >= 0 && !table_.resident(layer, id)) drop(done);
  }
}

// ---- guesses ----

int64_t StreamedExperts::look_ahead(int64_t layer, std::span<const int32_t> ids, Guess kind) {
  const std::lock_guard lock(mutex_);
  int64_t room = static_cast<int64_t>(ids.size());
  if (kind == Guess::prompt) {
    // Only into places that the layer will fill for good: a prompt needs all others, and a guess that gave way would be
    // read twice.
    const std::vector<Entry>& entries = entries_[static_cast<size_t>(layer)];
    room = layout_.kept[static_cast<size_t>(layer)] -
           std::count_if(entries.begin(), entries.end(), [](const Entry& e) { return e.slot >= 0; });
  }
  int64_t missing = 0;
  for (const int32_t id : ids) {
    Entry& guess = entry(layer, id);
    if (guess.state == State::ready) continue;
    ++missing;
    if (guess.state != State::absent || room <= 0 || !start_read(layer, guess, ReadPriority::lookahead, false))
      continue;
    --room;
    guess.guessed = true;
    ++counts_.lookahead_reads;
  }
  return missing;
}

// ---- whole sets ----

Result<void> StreamedExperts::load_all(const std::function<bool(uint64_t done, uint64_t total)>& on_progress,
                                       const std::function<void(ExpertView& view)>& arrange) {
  std::vector<Entry*> loading;
  uint64_t total = 0, done = 0;
  {
    const std::lock_guard lock(mutex_);
    for (size_t layer = 0; layer < entries_.size(); ++layer) {
      for (size_t id = 0; id < entries_[layer].size(); ++id) {
        Entry& next = entries_[layer][id];
        if (next.state != State::absent) continue;
        if (!table_.restore(static_cast<int64_t>(layer), static_cast<int32_t>(id), 0, 0, true)) continue;
        if (!start_read(static_cast<int64_t>(layer), next, ReadPriority::demand, true)) {
          table_.forget(static_cast<int64_t>(layer), static_cast<int32_t>(id));
          continue;
        }
        loading.push_back(&next);
        for (const FileRange& range : next.ranges) total += range.bytes;
      }
    }
  }
  for (Entry* next : loading) {
    ReadTask& task = slots_[static_cast<size_t>(next->slot)].task;
    MOXIE_TRY_VOID(reader_.wait(task, next->all()));
    std::unique_lock lock(mutex_);
    if (!finish(*next)) {
      next->reread = true;
      reader_.submit(task, ReadPriority::demand);
      lock.unlock();
      MOXIE_TRY_VOID(reader_.wait(task, next->all()));
      lock.lock();
      if (!finish(*next)) return damaged(*next);
    }
    if (arrange) arrange(next->view);
    for (const FileRange& range : next->ranges) done += range.bytes;
    if (on_progress && !on_progress(done, total)) return fail(ErrorCode::cancelled, "loading was cancelled");
  }
  return {};
}

int64_t StreamedExperts::restore(std::span<const KnownExpert> known) {
  const std::lock_guard lock(mutex_);
  std::vector<KnownExpert> wanted;
  for (const KnownExpert& expert : known) {
    if (expert.layer < 0 || static_cast<size_t>(expert.layer) >= entries_.size()) continue;
    if (expert.id < 0 || static_cast<size_t>(expert.id) >= entries_[static_cast<size_t>(expert.layer)].size()) continue;
    if (table_.restore(expert.layer, expert.id, expert.count, expert.age, expert.resident)) wanted.push_back(expert);
  }
  const auto position = [&](const KnownExpert& e) {
    return std::pair(entry(e.layer, e.id).ranges[0].file, entry(e.layer, e.id).ranges[0].offset);
  };
  std::sort(wanted.begin(), wanted.end(),
            [&](const KnownExpert& a, const KnownExpert& b) { return position(a) < position(b); });
  int64_t reading = 0;
  for (const KnownExpert& expert : wanted) {
    Entry& next = entry(expert.layer, expert.id);
    if (next.state != State::absent) continue;
    if (start_read(expert.layer, next, ReadPriority::lookahead, false)) {
      ++reading;
    } else {
      table_.forget(expert.layer, expert.id);
    }
  }
  return reading;
}

std::vector<KnownExpert> StreamedExperts::known() const {
  const std::lock_guard lock(mutex_);
  std::vector<KnownExpert> all;
  for (size_t layer = 0; layer < entries_.size(); ++layer) {
    for (size_t id = 0; id < entries_[layer].size(); ++id) {
      const UseRecord& use = table_.use(static_cast<int64_t>(layer), static_cast<int32_t>(id));
      if (use.count <= 0) continue;
      all.push_back({.layer = static_cast<int32_t>(layer),
                     .id = static_cast<int32_t>(id),
                     .count = use.count,
                     .age = table_.now(static_cast<int64_t>(layer)) - use.last_use,
                     .resident = table_.resident(static_cast<int64_t>(layer), static_cast<int32_t>(id))});
    }
  }
  return all;
}

Result<void> StreamedExperts::pin(std::span<const KnownExpert> pins, int used) {
  const std::lock_guard lock(mutex_);
  std::vector<int> pinned(entries_.size(), 0);
  for (const KnownExpert& pin : pins) {
    const bool layer_exists = pin.layer >= 0 && static_cast<size_t>(pin.layer) < entries_.size();
    const size_t experts = layer_exists ? entries_[static_cast<size_t>(pin.layer)].size() : 0;
    if (pin.id < 0 || static_cast<size_t>(pin.id) >= experts) {
      return fail(ErrorCode::invalid_argument,
                  "pinned expert {}:{} does not exist; the model has {} layers, that layer {} experts", pin.layer,
                  pin.id, entries_.size(), experts);
    }
    const int room = layout_.kept[static_cast<size_t>(pin.layer)];
    const bool partial = room < static_cast<int>(experts);
    if (++pinned[static_cast<size_t>(pin.layer)] > (partial ? room - used : room)) {
      return fail(ErrorCode::invalid_argument,
                  "layer {}: {} pinned experts leave fewer than {} of its {} places for the others; pin fewer, or give "
                  "more memory",
                  pin.layer, pinned[static_cast<size_t>(pin.layer)], used, room);
    }
  }
  for (const KnownExpert& pin : pins) {
    if (!table_.pin(pin.layer, pin.id)) continue;
    Entry& next = entry(pin.layer, pin.id);
    if (next.state == State::absent && !start_read(pin.layer, next, ReadPriority::lookahead, false))
      table_.forget(pin.layer, pin.id);
  }
  return {};
}

ExpertStore::Presence StreamedExperts::presence(int64_t layer, int32_t id) const {
  const std::lock_guard lock(mutex_);
  const Entry& asked = entry(layer, id);
  if (asked.state == State::ready) return Presence::ready;
  if (asked.state != State::reading) return Presence::absent;
  return reader_.arrived(slots_[static_cast<size_t>(asked.slot)].task, asked.all()) ? Presence::ready
                                                                                    : Presence::reading;
}

StreamCounts StreamedExperts::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace moxie

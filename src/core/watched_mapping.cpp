#include "core/watched_mapping.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "core/fail.h"

namespace moxie {

// Read by the signal's handler, so without locks: `turn` is odd while the bounds are being set. A range that changes is
// nobody's whose page is missing right now.
struct WatchedRange {
  std::atomic<unsigned> turn{0};
  std::atomic<uintptr_t> begin{0}, end{0};  // begin 0: free
  std::atomic<bool> gone{false};

  void set(uintptr_t from, uintptr_t to) {
    const unsigned before = turn.load(std::memory_order_relaxed);
    turn.store(before + 1);
    begin.store(from);
    end.store(to);
    turn.store(before + 2);
  }
  // The end of the range where `address` lies in it, or 0.
  uintptr_t end_around(uintptr_t address) const {
    const unsigned before = turn.load();
    const uintptr_t from = begin.load(), to = end.load();
    if (before % 2 != 0 || turn.load() != before) return 0;
    return from != 0 && address >= from && address < to ? to : 0;
  }
};

namespace {

static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<unsigned>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free);

WatchedRange watched[WatchedMapping::kMost];
std::mutex taking;  // of free ranges
struct sigaction handled_before = {};
uintptr_t page_bytes = 0;

// From the page of `address` to the end of its range: zeros. A cut file lacks all of that, and one large piece keeps
// the number of mappings small. False: the address is not watched.
bool blank(uintptr_t address) {
  for (WatchedRange& range : watched) {
    const uintptr_t end = range.end_around(address);
    if (end == 0) continue;
    range.gone.store(true);
    const uintptr_t page = address / page_bytes * page_bytes;
    return ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                  0) != MAP_FAILED;
  }
  return false;
}

// What is not of a watched mapping goes to who handled it before, and this handler stays: the other may repair too.
// Where nobody did, the signal does what it does by itself.
void pass_on(int signal, siginfo_t* info, void* context) {
  const struct sigaction& before = handled_before;
  const bool is_fault = info->si_code > 0;  // and not sent by a process
  const bool detailed = (before.sa_flags & SA_SIGINFO) != 0;
  if (!detailed && before.sa_handler == SIG_IGN && !is_fault) return;
  const bool usual = !detailed && (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN);
  if (usual || (before.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) {
    struct sigaction next = {};
    next.sa_handler = SIG_DFL;
    ::sigaction(signal, &next, nullptr);
  }
  if (usual) {
    if (!is_fault) ::raise(signal);  // a fault comes again by itself
  } else if (detailed) {
    before.sa_sigaction(signal, info, context);
  } else {
    before.sa_handler(signal);
  }
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int number = errno;
  if (info->si_code <= 0 || !blank(reinterpret_cast<uintptr_t>(info->si_addr))) pass_on(signal, info, context);
  errno = number;
}

bool watch_signal() {
  static const bool done = [] {
    page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    struct sigaction ours = {};
    ours.sa_sigaction = on_bus_error;
    ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    return ::sigaction(SIGBUS, &ours, &handled_before) == 0;
  }();
  return done;
}

WatchedRange* watch(const Mapping& mapping) {
  const std::lock_guard lock(taking);
  for (WatchedRange& range : watched) {
    if (range.begin.load(std::memory_order_relaxed) != 0) continue;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(mapping.data());
    range.gone.store(false);
    range.set(begin, begin + (mapping.bytes() + page_bytes - 1) / page_bytes * page_bytes);
    return &range;
  }
  return nullptr;
}

}  // namespace

void WatchedMapping::Unwatch::operator()(WatchedRange* range) const {
  const std::lock_guard lock(taking);
  range->set(0, 0);
}

Result<WatchedMapping> WatchedMapping::open(const std::string& path) {
  MOXIE_TRY(File file, File::open(path));
  MOXIE_TRY(Mapping mapping, file.map());
  WatchedMapping made(std::move(file), std::move(mapping));
  if (!identify(made.file_.descriptor(), &made.identity_))
    return fail(ErrorCode::io, "{}: cannot stat: {}", path, std::strerror(errno));
  if (made.identity_.bytes != made.bytes()) return changed_file(path, "changed");
  if (made.bytes() == 0) return made;
  if (!watch_signal()) return fail(ErrorCode::io, "SIGBUS cannot be handled: {}", std::strerror(errno));
  made.range_.reset(watch(made.mapping_));
  if (made.range_ == nullptr)
    return fail(ErrorCode::unsupported, "{}: {} files are mapped already; read this one (--no-mmap)", path, kMost);
  return made;
}

Result<void> WatchedMapping::check() const {
  const bool gone = range_ != nullptr && range_->gone.exchange(false);
  if (gone) {
    void* const at = const_cast<std::byte*>(data());
    if (::mmap(at, bytes(), PROT_READ, MAP_SHARED | MAP_FIXED, file_.descriptor(), 0) == MAP_FAILED) {
      range_->gone = true;
      return fail(ErrorCode::io, "{}: cannot map {} bytes: {}", file_.path(), bytes(), std::strerror(errno));
    }
  }
  MOXIE_TRY_VOID(check_content(file_.path(), file_.descriptor(), identity_));
  if (!gone) return {};
  return fail(ErrorCode::io, "{}: a part of it could not be read; look whether its drive works, or copy the file",
              file_.path());
}

}  // namespace moxie

#include "cli/live_region.h"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "cli/console.h"

#if defined(__unix__) || defined(__APPLE__)
#include <signal.h>
#include <unistd.h>
#endif

namespace moxie::cli {
namespace {

// Saved and restored around it: setting margins moves the cursor. What lies below the cursor is the region.
constexpr std::string_view kRelease = "\0337\033[r\0338\033[J";

std::atomic<bool> shown_now{false};  // rows are taken from the text
std::atomic<bool> came_back{false};  // the program was stopped meanwhile; others have written to the terminal

#if defined(__unix__) || defined(__APPLE__)

constexpr int kEnding[] = {SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGABRT, SIGSEGV,
                           SIGBUS,  SIGFPE, SIGILL,  SIGXFSZ, SIGXCPU};

// In a signal handler: nothing but write, sigaction and raise.
void write_release() {
  if (!shown_now) return;
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kRelease.data(), kRelease.size());
}

void on_ending(int signal) {
  write_release();
  raise(signal);  // its handler is gone (SA_RESETHAND): the program ends by it once this returns
}

void on_stopping(int signal) {
  write_release();
  struct sigaction usual = {}, ours = {};
  usual.sa_handler = SIG_DFL;
  sigaction(signal, &usual, &ours);
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, signal);
  raise(signal);
  pthread_sigmask(SIG_UNBLOCK, &set, &before);  // stops here
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  sigaction(signal, &ours, nullptr);
  came_back = true;
}

// Signals that something else handles, or that are ignored, are left alone.
void replace_handler(int signal, void (*from)(int), void (*to)(int), int flags) {
  struct sigaction present = {};
  if (sigaction(signal, nullptr, &present) != 0 || present.sa_handler != from) return;
  struct sigaction next = {};
  next.sa_handler = to;
  next.sa_flags = flags;
  sigemptyset(&next.sa_mask);
  sigaction(signal, &next, nullptr);
}

void catch_signals(bool caught) {
  for (const int signal : kEnding) {
    if (caught) {
      replace_handler(signal, SIG_DFL, on_ending, static_cast<int>(SA_RESETHAND));
    } else {
      replace_handler(signal, on_ending, SIG_DFL, 0);
    }
  }
  if (caught) {
    replace_handler(SIGTSTP, SIG_DFL, on_stopping, SA_RESTART);
  } else {
    replace_handler(SIGTSTP, on_stopping, SIG_DFL, 0);
  }
}

#else

void write_release() {}
void catch_signals(bool) {}

#endif

}  // namespace

bool LiveRegion::possible() {
#if defined(__unix__) || defined(__APPLE__)
  const char* kind = std::getenv("TERM");
  return is_terminal(StandardStream::error) && kind != nullptr && *kind != '\0' && std::string_view(kind) != "dumb";
#else
  return false;
#endif
}

// The text's cursor is moved up until the rows below it are enough, scrolling what is above; then they are cut off.
std::string LiveRegion::make_room(size_t rows, TerminalSize size) const {
  std::string out(kRelease);
  for (size_t i = 0; i < rows; ++i) out += "\033D";  // down, keeping the column
  return out + fmt::format("\033[{}A\0337\033[1;{}r\0338", rows, static_cast<size_t>(size.rows) - rows);
}

void LiveRegion::draw(const std::vector<std::string>& lines, TerminalSize size) {
  if (lines.empty() || lines.size() >= static_cast<size_t>(size.rows)) return close();
  const bool fits = open_ && lines.size() == shown_.size() && size.rows == size_.rows && size.columns == size_.columns;
  const bool again = came_back.exchange(false) || !fits;
  if (!again && lines == shown_) return;
  if (!open_) catch_signals(true);
  std::string out = again ? make_room(lines.size(), size) : std::string();
  out += "\0337";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!again && lines[i] == shown_[i]) continue;
    out += fmt::format("\033[{};1H{}\033[K", static_cast<size_t>(size.rows) - lines.size() + i + 1, lines[i]);
  }
  out += "\0338";
  shown_now = true;
  if (!draw_beside_text(out, size.columns)) {
    shown_now = open_;
    came_back = again;
    return;
  }
  open_ = true;
  shown_ = lines;
  size_ = size;
}

void LiveRegion::close() {
  if (!open_) return;
  open_ = false;
  shown_.clear();
  // A full row keeps its last character: some terminals would erase it.
  if (!draw_beside_text(kRelease, size_.columns)) diagnose(fmt::format("\n{}", kRelease));
  shown_now = false;
  catch_signals(false);
}

void release_terminal() {
  write_release();
  shown_now = false;
}

}  // namespace moxie::cli

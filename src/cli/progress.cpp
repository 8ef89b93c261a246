#include "cli/progress.h"

#include <fmt/format.h>

#include "cli/console.h"
#include "core/terminal.h"

namespace moxie::cli {
namespace {

constexpr auto kQuiet = std::chrono::milliseconds(300);  // what is faster needs no line
constexpr auto kProgressInterval = std::chrono::milliseconds(100);

}  // namespace

Progress::Progress(std::string_view doing, Clock::time_point (*now)())
    : doing_(doing), now_(now), terminal_(is_terminal(StandardStream::error)), start_(now()), last_(start_) {}

void Progress::update(uint64_t done, uint64_t total, uint64_t before) {
  if (!terminal_ || total == 0) return;
  const auto now = now_();
  if (now - start_ < kQuiet || now - last_ < kProgressInterval) return;
  last_ = now;
  shown_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(done - std::min(before, done)) / seconds;
  const double left = rate > 0 ? static_cast<double>(total - std::min(done, total)) / rate : 0;
  std::string line = fmt::format("{} {} of {}, {}/s, {} left", doing_, human_bytes(done), human_bytes(total),
                                 human_bytes(static_cast<uint64_t>(rate)), human_seconds(left));
  const auto columns = static_cast<size_t>(terminal_columns(StandardStream::error));
  if (line.size() >= columns) line.resize(columns - 1);
  diagnose(fmt::format("\r\x1b[K{}", line));
}

void Progress::clear() {
  if (shown_) diagnose("\r\x1b[K");
  shown_ = false;
}

}  // namespace moxie::cli

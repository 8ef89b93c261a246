#include "cli/expert_watch.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string>

#include "cli/console.h"
#include "core/ascii.h"

namespace moxie::cli {
namespace {

constexpr auto kPictureInterval = std::chrono::milliseconds(100);
constexpr int kRowsMin = 4;  // of a terminal: fewer belong to the text alone

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = ascii_lower(environment(name));
    if (value.empty()) continue;
    return value.find("utf-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

// The text keeps two rows of five.
int rows_for_picture(TerminalSize size) {
  return size.rows < kRowsMin ? 0 : std::max(1, size.rows * 3 / 5);
}

}  // namespace

PictureRates RecentRates::add(Clock::time_point now, const ExpertHeat& heat) {
  constexpr auto kShortest = std::chrono::seconds(2), kLongest = std::chrono::seconds(60);
  constexpr uint64_t kTokens = 4;
  samples_.push_back({now, heat.tokens, heat.bytes_read, heat.stall_seconds, heat.disk_busy_seconds});
  const Sample& last = samples_.back();
  // The second one becomes the first as soon as it is far enough away.
  while (samples_.size() > 2) {
    const Sample& next = samples_[1];
    if (now - samples_[0].at < kLongest && (now - next.at < kShortest || last.tokens - next.tokens < kTokens)) break;
    samples_.pop_front();
  }
  const Sample& first = samples_.front();
  const double seconds = std::chrono::duration<double>(now - first.at).count();
  if (seconds <= 0) return {};
  return {.tokens_per_second = static_cast<double>(last.tokens - first.tokens) / seconds,
          .bytes_per_second = static_cast<double>(last.bytes - first.bytes) / seconds,
          .stall_share = std::clamp((last.stall_seconds - first.stall_seconds) / seconds, 0.0, 1.0),
          .disk_busy_share = std::clamp((last.busy_seconds - first.busy_seconds) / seconds, 0.0, 1.0)};
}

void ExpertWatch::start(const Engine& engine) {
  if (!is_terminal(StandardStream::error)) {
    note("--watch needs a terminal on standard error; here it has no effect");
    return;
  }
  if (engine.model().experts == 0) {
    note("--watch has nothing to show: this model has no experts");
    return;
  }
  engine_ = &engine;
  live_ = LiveRegion::possible();
  colour_ = live_ && environment("NO_COLOR").empty();
  unicode_ = live_ && locale_is_utf8();
  if (!live_) {
    note("--watch: this terminal does not move its cursor (TERM); the picture comes at the end");
    return;
  }
  thread_ = std::thread([this] { watch(); });
}

std::vector<std::string> ExpertWatch::picture(TerminalSize size) {
  const ExpertHeat heat = engine_->expert_heat();
  return expert_picture(
      heat, rates_.add(RecentRates::Clock::now(), heat),
      {.columns = size.columns, .rows = rows_for_picture(size), .colour = colour_, .unicode = unicode_});
}

void ExpertWatch::watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const TerminalSize size = terminal_size(StandardStream::error);
    region_.draw(picture(size), size);
    wake_.wait_for(lock, kPictureInterval, [this] { return stopping_; });
  }
}

void ExpertWatch::stop() {
  if (engine_ == nullptr) return;
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  region_.close();
  std::string text = at_line_start() ? "" : "\n";
  for (const std::string& line : picture(terminal_size(StandardStream::error))) text += line + "\n";
  diagnose(text);
  engine_ = nullptr;
}

}  // namespace moxie::cli

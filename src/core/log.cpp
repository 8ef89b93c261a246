#include "core/log.h"

namespace moxie {

void Log::write(LogLevel level, std::string_view message) {
  const std::lock_guard lock(mutex_);
  if (sink_) sink_(level, message);
}

void Log::notice(std::string_view message) {
  const std::lock_guard lock(mutex_);
  if (!said_.emplace(message).second) return;
  notices_.emplace_back(message);
  if (sink_) sink_(LogLevel::warning, message);
}

std::vector<std::string> Log::notices() const {
  const std::lock_guard lock(mutex_);
  return notices_;
}

}  // namespace moxie

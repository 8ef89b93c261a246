// What the library has to say. It never prints: messages go to a sink that the caller gives, and notices (a fallback, a
// clamp, an ignored setting) are said once and kept, so that they can be shown later. Thread-safe.
#pragma once

#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace moxie {

enum class LogLevel { debug, info, warning };
using LogSink = std::function<void(LogLevel, std::string_view)>;

class Log {
 public:
  explicit Log(LogSink sink = {}) : sink_(std::move(sink)) {}

  void write(LogLevel level, std::string_view message);
  // Says a notice unless the same text was said before, and keeps it.
  void notice(std::string_view message);
  std::vector<std::string> notices() const;

 private:
  mutable std::mutex mutex_;
  LogSink sink_;
  std::set<std::string, std::less<>> said_;
  std::vector<std::string> notices_;
};

}  // namespace moxie

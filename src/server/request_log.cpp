#include "server/request_log.h"

#include <fmt/chrono.h>

#include <chrono>

#include "core/printable.h"
#include "server/json_build.h"

namespace moxie::server {
namespace {

constexpr size_t kPathMax = 200;

double rate(int64_t count, double ms) {
  return ms > 0 ? static_cast<double>(count) * 1000 / ms : 0;
}

std::string as_json(const HttpRequest& request, const RequestNotes& notes, const RequestFacts& facts) {
  Json line = object({{"time", facts.time},
                      {"id", request.id},
                      {"client", request.client},
                      {"method", request.method},
                      {"path", request.path.substr(0, kPathMax)},
                      {"status", facts.status},
                      {"ms", facts.seconds * 1000},
                      {"bytes", facts.bytes}});
  if (notes.prompt_tokens >= 0) {
    put(line, "prompt_tokens", notes.prompt_tokens);
    put(line, "cached_tokens", notes.cached_tokens);
    put(line, "prompt_ms", notes.prompt_ms);
    put(line, "generated_tokens", notes.generated_tokens);
    put(line, "generated_ms", notes.generated_ms);
  }
  if (!notes.outcome.empty()) put(line, "outcome", notes.outcome);
  return to_text(line);
}

}  // namespace

std::string time_text() {
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)), ms);
}

std::string request_line(const HttpRequest& request, const RequestNotes& notes, const RequestFacts& facts, bool json) {
  if (json) return as_json(request, notes, facts);
  std::string line = fmt::format("{} {} {} {} {} {:.0f} ms", facts.time, request.id, request.method,
                                 printable(request.path.substr(0, kPathMax)),
                                 facts.status != 0 ? std::to_string(facts.status) : "-", facts.seconds * 1000);
  if (notes.prompt_tokens > 0) {
    line += fmt::format(", prompt {} tokens", notes.prompt_tokens);
    if (notes.cached_tokens > 0) line += fmt::format(" ({} cached)", notes.cached_tokens);
    line += fmt::format(" in {:.0f} ms, {} generated at {:.1f}/s", notes.prompt_ms, notes.generated_tokens,
                        rate(notes.generated_tokens, notes.generated_ms));
  }
  if (!notes.outcome.empty()) line += ": " + printable(notes.outcome.substr(0, 300));
  return line;
}

}  // namespace moxie::server

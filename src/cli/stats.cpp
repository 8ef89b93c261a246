#include "cli/stats.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "core/fail.h"
#include "core/memory_info.h"

namespace moxie::cli {
namespace {

double per_second(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

// Two decimals are plenty, and keep the line short.
double rounded(double value) {
  return std::round(value * 100) / 100;
}

double generate_rate(const RunStats& stats) {
  return per_second(stats.generated_tokens, stats.generate_seconds);
}

}  // namespace

void RunStats::add(const GenerateResult& result) {
  if (generated_tokens == 0) first_token_seconds = result.first_token_seconds;
  prompt_tokens += result.prompt_tokens;
  generated_tokens += static_cast<int64_t>(result.ids.size());
  prompt_seconds += result.prompt_seconds;
  generate_seconds += result.generate_seconds;
  seed = result.seed;
  reason = result.reason;
  context_shifts += result.context_shifts;
}

void add_stats_flags(FlagSet& flags, StatsForm& form) {
  flags.on(
      "stats",
      [&form](const std::string& value) -> Result<void> {
        if (value == "text") {
          form = StatsForm::text;
        } else if (value == "json") {
          form = StatsForm::json;
        } else if (value == "none") {
          form = StatsForm::none;
        } else {
          return fail(ErrorCode::invalid_argument, "'{}' is no form of figures; there are text, json and none", value);
        }
        return {};
      },
      "text");
  flags.on("perf", [&form](const std::string&) -> Result<void> {
    form = StatsForm::text;
    return {};
  });
  flags.on("no-perf", [&form](const std::string&) -> Result<void> {
    form = StatsForm::none;
    return {};
  });
}

std::string_view stop_name(StopReason reason) {
  switch (reason) {
    case StopReason::none:
      return "none";
    case StopReason::end_token:
      return "end_token";
    case StopReason::stop_text:
      return "stop_text";
    case StopReason::length:
      return "length";
    case StopReason::context_full:
      return "context_full";
    case StopReason::cancelled:
      return "cancelled";
    case StopReason::caller:
      return "caller";
  }
  return "none";
}

std::string stats_text(const RunStats& stats, StatsForm form) {
  const uint64_t peak = read_memory_info().resident_peak_bytes.value_or(0);
  if (form == StatsForm::none) return {};
  if (form == StatsForm::json) {
    const nlohmann::ordered_json object = {
        {"mode", "exact"},
        {"load_ms", rounded(stats.load_seconds * 1000)},
        {"ttft_ms", rounded(stats.first_token_seconds * 1000)},
        {"prompt_tokens", stats.prompt_tokens},
        {"prompt_tokens_per_s", rounded(per_second(stats.prompt_tokens, stats.prompt_seconds))},
        {"generated_tokens", stats.generated_tokens},
        {"generated_tokens_per_s", rounded(generate_rate(stats))},
        {"rss_peak_bytes", peak},
        {"seed", stats.seed},
        {"stop", stop_name(stats.reason)},
        {"context_shifts", stats.context_shifts},
    };
    return object.dump() + "\n";
  }
  return fmt::format(
      "moxie: load {}; prompt {} tokens, {:.1f} tokens/s; first token after {}; generated {} tokens, {:.1f} tokens/s; "
      "peak memory {}\n",
      human_seconds(stats.load_seconds), stats.prompt_tokens, per_second(stats.prompt_tokens, stats.prompt_seconds),
      human_seconds(stats.first_token_seconds), stats.generated_tokens, generate_rate(stats), human_bytes(peak));
}

}  // namespace moxie::cli

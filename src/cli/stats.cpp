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

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

double busy_share(const RunStats& stats) {
  return share(stats.experts.disk_busy_seconds, stats.load_seconds + stats.prompt_seconds + stats.generate_seconds);
}

void add_lossy(nlohmann::ordered_json& object, const ExpertStats& experts) {
  object["lossy_accesses"] = experts.lossy_accesses;
  object["lossy_changed"] = experts.lossy_changed;
  object["lossy_weight_share"] = experts.lossy_weight_share;
  if (experts.lossy_modes.size() < 2) return;
  for (const LossyUse& use : experts.lossy_modes) {
    object["lossy_modes"].push_back({{"mode", use.mode}, {"changed", use.changed}, {"weight_share", use.weight_share}});
  }
}

void add_experts(nlohmann::ordered_json& object, const RunStats& stats) {
  const ExpertStats& experts = stats.experts;
  if (experts.mode != "exact") add_lossy(object, experts);
  object["expert_hits"] = experts.hits;
  object["expert_misses"] = experts.misses;
  object["bytes_read"] = experts.bytes_read;
  object["stall_ms"] = rounded(experts.stall_seconds * 1000);
  object["disk_busy_share"] = rounded(busy_share(stats));
  object["lookahead_useful"] = experts.lookahead_useful;
  object["lookahead_wasted"] = experts.lookahead_wasted;
  object["lookahead_late"] = experts.lookahead_late;
  object["memory_budget_bytes"] = stats.memory.budget;
  object["memory_planned_bytes"] = stats.memory.total();
  object["slots_per_layer"] = rounded(experts.slots_per_layer);
  object["layer_hits"] = experts.layer_hits;
  object["layer_misses"] = experts.layer_misses;
  object["reads"] = experts.reads;
  auto& uses = object["expert_uses"] = nlohmann::ordered_json::array();
  for (int64_t layer = 0; layer < stats.heat.layers; ++layer) {
    const auto row = stats.heat.uses.begin() + layer * stats.heat.experts;
    uses.push_back(std::vector<uint64_t>(row, row + stats.heat.experts));
  }
}

std::string experts_text(const RunStats& stats) {
  const ExpertStats& e = stats.experts;
  const auto accesses = static_cast<double>(e.hits + e.misses);
  return fmt::format(
      "moxie: experts {}, {:.1f} kept per layer: {:.1f} % hits of {}, {} misses; read {}, disk busy {:.0f} %, waited "
      "{}; "
      "lookahead {} useful, {} late, "
      "{} wasted; budget {}\n",
      e.mode, e.slots_per_layer, 100 * share(static_cast<double>(e.hits), accesses), e.hits + e.misses, e.misses,
      human_bytes(e.bytes_read), 100 * busy_share(stats), human_seconds(e.stall_seconds), e.lookahead_useful,
      e.lookahead_late, e.lookahead_wasted, human_bytes(stats.memory.budget));
}

std::string layers_text(const ExpertStats& experts) {
  std::string text = "moxie: hits by layer, %:";
  for (size_t layer = 0; layer < experts.layer_hits.size(); ++layer) {
    const auto all = static_cast<double>(experts.layer_hits[layer] + experts.layer_misses[layer]);
    text += all > 0 ? fmt::format(" {:.0f}", 100 * static_cast<double>(experts.layer_hits[layer]) / all) : " -";
  }
  return text + "\n";
}

std::string change_text(const ExpertStats& experts, uint64_t changed, double weight_share) {
  return fmt::format("{} of {} choices ({:.1f} %) with {:.1f} % of their weight", changed, experts.lossy_accesses,
                     100 * share(static_cast<double>(changed), static_cast<double>(experts.lossy_accesses)),
                     100 * weight_share);
}

double generate_rate(const RunStats& stats) {
  return per_second(stats.generated_tokens, stats.generate_seconds);
}

}  // namespace

std::string lossy_text(const ExpertStats& experts) {
  if (experts.mode == "exact") return {};
  std::string text = fmt::format("moxie: lossy, {}: changed {}", experts.mode,
                                 change_text(experts, experts.lossy_changed, experts.lossy_weight_share));
  for (const LossyUse& use : experts.lossy_modes) {
    if (experts.lossy_modes.size() > 1)
      text += fmt::format("; {} {}", use.mode, change_text(experts, use.changed, use.weight_share));
  }
  return text + "\n";
}

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
    nlohmann::ordered_json object = {
        {"mode", stats.experts.mode},
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
    add_experts(object, stats);
    return object.dump() + "\n";
  }
  std::string text = fmt::format(
      "moxie: load {}; prompt {} tokens, {:.1f} tokens/s; first token after {}; generated {} tokens, {:.1f} tokens/s; "
      "peak memory {}\n",
      human_seconds(stats.load_seconds), stats.prompt_tokens, per_second(stats.prompt_tokens, stats.prompt_seconds),
      human_seconds(stats.first_token_seconds), stats.generated_tokens, generate_rate(stats), human_bytes(peak));
  if (stats.experts.streaming) text += experts_text(stats) + layers_text(stats.experts);
  text += lossy_text(stats.experts);
  return text;
}

}  // namespace moxie::cli

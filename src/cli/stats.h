// The figures after a generation: one line for people, or one JSON object for programs, on stderr.
#pragma once

#include <string>

#include "cli/flag_set.h"
#include "moxie/engine.h"

namespace moxie::cli {

enum class StatsForm { text, json, none };

struct RunStats {
  double load_seconds = 0;
  int64_t prompt_tokens = 0, generated_tokens = 0;
  double prompt_seconds = 0, first_token_seconds = 0, generate_seconds = 0;
  uint64_t seed = 0;
  StopReason reason = StopReason::none;
  int64_t context_shifts = 0;
  MemoryUse memory;
  ExpertStats experts;
  ExpertHeat heat;

  void add(const GenerateResult& result);
};

void add_stats_flags(FlagSet& flags, StatsForm& form);
std::string_view stop_name(StopReason reason);
// One line on what lossy modes changed; empty without.
std::string lossy_text(const ExpertStats& experts);
// With the line's end; empty for none.
std::string stats_text(const RunStats& stats, StatsForm form);

}  // namespace moxie::cli

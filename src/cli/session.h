// An engine with one sequence, generating onto stdout, stoppable with Ctrl-C. Not thread-safe.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "cli/console.h"
#include "cli/expert_watch.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "moxie/engine.h"

namespace moxie::cli {

class Session {
 public:
  Session() = default;
  ~Session() { interruption_.attach(nullptr); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<void> open(ModelOptions& options);
  const Engine& engine() const { return *engine_; }
  Sequence& sequence() { return *sequence_; }
  Interruption& interruption() { return interruption_; }
  // With the experts' figures as they are now.
  RunStats stats() const {
    RunStats stats = stats_;
    stats.memory = engine_->memory();
    stats.experts = engine_->expert_stats();
    stats.heat = engine_->expert_heat();
    return stats;
  }

  // Appends the prompt, prints the answer as it comes. A Ctrl-C gives reason cancelled with what there is.
  Result<GenerateResult> generate(std::span<const int32_t> prompt, const GenerateOptions& options);
  // Ends the line on stdout unless it is at its beginning.
  Result<void> end_line();
  // Text that the program itself puts on stdout.
  Result<void> show(std::string_view text, Colour colour);
  void set_colour(bool enabled) { colour_ = enabled; }
  // Ends --watch, before the figures.
  void end_watch() { watch_.stop(); }

 private:
  Interruption interruption_;  // first: its signal mask is for all threads that follow
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Sequence> sequence_;
  ExpertWatch watch_;  // after the engine that it watches
  RunStats stats_;
  bool colour_ = false;
  bool at_line_start_ = true;
};

}  // namespace moxie::cli

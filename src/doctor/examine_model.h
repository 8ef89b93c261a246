// What is the matter with a model: opens it as running it would, and turns what comes of that, and what running would
// not look at, into findings. Reads headers only, unless asked for more. Plain functions, thread-safe.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "moxie/error.h"

namespace moxie {

struct ExamineOptions {
  std::string arch;     // a family to force; empty: the file's
  bool scan = false;    // decode all weights and look for what is no number
  bool verify = false;  // compare every file with the SHA-256 that its store knows
  // Of a scan or comparison; false gives up.
  std::function<bool(uint64_t done, uint64_t total)> on_progress;
};

struct ModelReport {
  std::string path;
  bool loads = false;
  ErrorCode error = ErrorCode::internal;  // where it does not load: what opening it gives
  // Empty or zero where it does not come that far.
  std::string format, family, name, types;  // types: "Q4_K, Q6_K", most bytes first
  int64_t experts = 0, experts_used = 0;
  uint64_t bytes = 0, parameters = 0;
  std::vector<Finding> findings;
};

// The report on a model that cannot even be found.
ModelReport report_of(const std::string& path, const Error& error);

// Errors: cancelled; a model that is broken is a report.
Result<ModelReport> examine_model(const std::string& path, const ExamineOptions& options = {});

}  // namespace moxie

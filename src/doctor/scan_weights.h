// Reads every weight and looks for values that are no numbers. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>

#include "doctor/finding.h"
#include "format/weight_file.h"

namespace moxie {

// One finding for each tensor that has such values, ten at most. Errors: io, cancelled.
Result<void> scan_weights(const WeightFiles& files, const std::function<bool(uint64_t done, uint64_t total)>& progress,
                          Findings& findings);

}  // namespace moxie

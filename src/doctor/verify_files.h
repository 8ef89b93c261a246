// Compares a model's files with the digests that their store knows. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>

#include "doctor/finding.h"
#include "format/weight_file.h"

namespace moxie {

// A finding for each file that differs, and one where no store tells what to compare with. Errors: io, cancelled.
Result<void> verify_files(const WeightFiles& files, const std::function<bool(uint64_t done, uint64_t total)>& progress,
                          Findings& findings);

}  // namespace moxie

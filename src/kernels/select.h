// The choice of CPU target at run time. Thread-safe.
#pragma once

#include <span>
#include <string_view>

#include "kernels/kernels.h"
#include "moxie/error.h"

namespace moxie {

struct CpuTarget {
  std::string_view name;       // "avx512"
  std::string_view requires_;  // what the CPU must have, in words
  bool (*supported)();         // does this machine have it
  const Kernels* kernels;
};

// All targets in this build, best first (targets.inc).
std::span<const CpuTarget> cpu_targets();
// The best supported target, or the named one; an error names what this CPU lacks.
Result<const CpuTarget*> select_cpu_target(std::string_view name = {});

}  // namespace moxie

// How many threads are worth starting here, and why. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace moxie {

struct CpuInfo {
  int physical_cores = 0;       // of the machine, siblings of one core counted once; 0: unknown
  int logical = 0;              // processors online; 0: unknown
  int allowed = 0;              // processors that the affinity of this process allows; 0: unknown
  int allowed_cores = 0;        // physical cores among them; 0: unknown
  std::optional<double> quota;  // processors' worth of time that the control groups grant; nothing: no limit
  int threads = 1;              // min(allowed cores, quota rounded down), at least 1
  std::string explanation;      // one line: "2 threads: 2 physical cores, affinity allows 2, cgroup quota none"
};

// This process on this machine.
CpuInfo read_cpu_info();

// The same from a tree with /proc and /sys below `root`, for a process that may run on the processors `affinity`
// (nothing: unknown).
CpuInfo read_cpu_info(const std::string& root, const std::optional<std::vector<int>>& affinity);

}  // namespace moxie

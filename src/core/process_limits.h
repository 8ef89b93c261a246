// What the operating system allows this process. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>

namespace moxie {

struct ProcessLimits {
  std::optional<uint64_t> open_files, open_files_max;  // now, and as far as the process may raise it; absent: no limit
  std::optional<uint64_t> locked_bytes;                // that mlock may keep; absent: no limit
  std::optional<uint64_t> address_bytes;               // of virtual memory; absent: no limit
};
ProcessLimits read_process_limits();

// How often and how long the control groups have held this process's group back for want of processor time.
struct CpuThrottling {
  uint64_t periods = 0, throttled = 0;
};
// Absent where there is no quota, or the system does not tell.
std::optional<CpuThrottling> read_cpu_throttling(const char* root = "");

}  // namespace moxie

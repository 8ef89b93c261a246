// What this machine and this process's limits mean for running models. Thread-safe.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "core/cpu_info.h"
#include "core/drive_probe.h"
#include "core/memory_info.h"
#include "core/process_limits.h"
#include "moxie/error.h"

namespace moxie {

struct TargetReport {
  std::string name, needs;
  bool supported = false, chosen = false;
  bool fast = false;  // with it --fast makes a difference
};

struct MachineReport {
  std::vector<TargetReport> targets;  // best first
  CpuInfo cpu;
  std::optional<CpuThrottling> throttling;
  MemoryInfo memory;
  ProcessLimits limits;
  bool io_uring = false;
  std::string reads;       // how files are read here, or why io_uring is not there
  std::string drive_file;  // what was read to measure the drive; empty: nothing
  std::optional<DriveProbe> drive;
  std::string drive_problem;        // why it was not measured
  std::vector<std::string> advice;  // one sentence each, with the command where there is one
};

struct MachineOptions {
  std::string drive_file;  // read for two seconds at most, past the page cache; empty: the drive is not measured
  const std::atomic<bool>* stop = nullptr;
};

// What the system does not tell is left out of the report.
MachineReport examine_machine(const MachineOptions& options);
std::string machine_text(const MachineReport& report);
std::string machine_json(const MachineReport& report);

}  // namespace moxie

#include "doctor/examine_machine.h"

#include <algorithm>
#include <array>

#include "core/disk_reader.h"
#include "core/fail.h"
#include "core/file.h"
#include "core/folder.h"
#include "core/printable.h"
#include "core/terminal.h"
#include "kernels/select.h"
#include "quant/quant_type.h"

namespace moxie {
namespace {

constexpr uint64_t kProbeBytesMin = uint64_t{64} << 20, kProbeBytesMax = uint64_t{256} << 20;
constexpr double kProbeSeconds = 2;
constexpr uint64_t kOpenFilesMin = 256;
constexpr uint64_t kRoomMin = uint64_t{4} << 30;

void examine_targets(MachineReport& report) {
  const auto chosen = select_cpu_target();
  for (const CpuTarget& target : cpu_targets()) {
    const std::span<const QuantType* const> types = quant_types(target.name);
    const bool fast = target.supported() && std::any_of(types.begin(), types.end(), [](const QuantType* type) {
                        return fast_quant_type(*type) != type;
                      });
    report.targets.push_back({.name = std::string(target.name),
                              .needs = std::string(target.requires_),
                              .supported = target.supported(),
                              .chosen = chosen.ok() && (*chosen)->name == target.name,
                              .fast = fast});
  }
}

// The program itself is a file that is surely there to open.
void examine_reads(const std::string& drive_file, MachineReport& report) {
  const std::string file = drive_file.empty() ? executable_path() : drive_file;
  DiskReaderOptions options{.backend = DiskReaderOptions::Backend::io_uring, .direct = true};
  auto reader = DiskReader::open(std::array{file}, options);
  report.io_uring = reader.ok();
  if (!reader.ok()) {
    report.reads = reader.error().message;
    return;
  }
  report.reads = (*reader)->describe();
}

void examine_drive(const MachineOptions& options, MachineReport& report) {
  if (options.drive_file.empty()) {
    report.drive_problem = "no file was given, and no model of at least 64 MiB was found; moxie doctor --drive FILE";
    return;
  }
  report.drive_file = options.drive_file;
  const auto file = File::open(options.drive_file);
  if (!file.ok() || file->bytes() < kProbeBytesMin) {
    report.drive_problem = file.ok() ? fmt::format("{} has {} only; it takes 64 MiB to tell a drive from its cache",
                                                   options.drive_file, human_bytes(file->bytes()))
                                     : file.error().message;
    return;
  }
  auto probe = probe_drive(options.drive_file, {.reader = {.direct = true},
                                                .budget_bytes = kProbeBytesMax,
                                                .budget_seconds = kProbeSeconds,
                                                .stop = options.stop});
  if (probe.ok()) {
    report.drive = std::move(*probe);
  } else {
    report.drive_problem = probe.error().message;
  }
}

void advise(MachineReport& report) {
  const auto say = [&](std::string sentence) { report.advice.push_back(std::move(sentence)); };
  const CpuInfo& cpu = report.cpu;
  if (!report.targets.empty() && report.targets.back().chosen && report.targets.size() > 1)
    say("only the baseline of this processor's family can be used: computing takes several times as long as with AVX2");
  if (cpu.quota && *cpu.quota < cpu.allowed_cores) {
    say(fmt::format("a control group grants {:.2g} processors of {}: more threads than {} make it slower", *cpu.quota,
                    cpu.allowed, cpu.threads));
  }
  if (cpu.allowed > 0 && cpu.allowed < cpu.logical)
    say(fmt::format("this process may run on {} of {} processors; taskset -p shows which", cpu.allowed, cpu.logical));
  if (report.throttling && report.throttling->throttled * 20 > report.throttling->periods) {
    say(fmt::format("the group was held back in {} of {} periods: its quota is too small for what runs in it",
                    report.throttling->throttled, report.throttling->periods));
  }
  if (report.memory.huge_pages == HugePages::never) {
    say("huge pages are off, which costs some speed: "
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
  }
  if (const auto limit = report.memory.cgroup_limit_bytes;
      limit && report.memory.total_bytes && *limit < *report.memory.total_bytes) {
    say(fmt::format("a control group limits memory to {} of {}; --memory auto keeps within it", human_bytes(*limit),
                    human_bytes(*report.memory.total_bytes)));
  }
  if (const auto room = report.memory.room_bytes(); room && *room < kRoomMin)
    say(fmt::format("only {} of memory are free: large models will read most experts from the drive",
                    human_bytes(*room)));
  if (report.limits.open_files && *report.limits.open_files < kOpenFilesMin)
    say(fmt::format("{} files may be open at once, too few for models in many parts: ulimit -n 4096",
                    *report.limits.open_files));
  if (report.limits.address_bytes)
    say(fmt::format("virtual memory is limited to {}: larger models cannot be mapped; ulimit -v unlimited",
                    human_bytes(*report.limits.address_bytes)));
  if (!report.io_uring)
    say(fmt::format("io_uring is not there ({}); threads read instead, which is slower on fast drives", report.reads));
  if (report.drive) {
    for (const std::string& notice : report.drive->notices) say(notice);
  }
}

}  // namespace

MachineReport examine_machine(const MachineOptions& options) {
  MachineReport report;
  examine_targets(report);
  report.cpu = read_cpu_info();
  report.throttling = read_cpu_throttling();
  report.memory = read_memory_info();
  report.limits = read_process_limits();
  examine_reads(options.drive_file, report);
  examine_drive(options, report);
  advise(report);
  return report;
}

}  // namespace moxie

// The report on a machine as text and as JSON.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/printable.h"
#include "doctor/examine_machine.h"

namespace moxie {
namespace {

std::string_view huge_pages_text(HugePages pages) {
  switch (pages) {
    case HugePages::never:
      return "never";
    case HugePages::on_request:
      return "on request";
    case HugePages::always:
      return "always";
    case HugePages::unknown:
      return "unknown";
  }
  return "unknown";
}

std::string size_or(const std::optional<uint64_t>& bytes, std::string_view otherwise) {
  return bytes ? human_bytes(*bytes) : std::string(otherwise);
}

std::string drive_text(const MachineReport& report) {
  if (!report.drive) return "not measured: " + report.drive_problem;
  return fmt::format("{:.2f} GB/s in pieces of {}, {} at once ({})", report.drive->best_bytes_per_second / 1e9,
                     human_bytes(report.drive->best.piece_bytes), report.drive->best.depth, report.drive_file);
}

}  // namespace

std::string machine_text(const MachineReport& report) {
  std::string out;
  const auto line = [&](std::string_view what, const std::string& text) {
    out += fmt::format("{:<13} {}\n", what, text);
  };
  for (const TargetReport& target : report.targets) {
    line(out.empty() ? "CPU target" : "",
         fmt::format("{:<9} {}: {}{}", target.name,
                     target.chosen      ? "chosen"
                     : target.supported ? "possible"
                                        : "not possible, this CPU or its system lacks some of",
                     target.needs,
                     target.fast && target.chosen ? "; --fast has faster prompts for bfloat16 weights" : ""));
  }
  line("threads", report.cpu.explanation);
  if (report.throttling) {
    line("throttled", fmt::format("in {} of {} periods", report.throttling->throttled, report.throttling->periods));
  }
  const MemoryInfo& memory = report.memory;
  line("memory", fmt::format("{}, {} free; control group: {}", size_or(memory.total_bytes, "unknown"),
                             size_or(memory.room_bytes(), "unknown"), size_or(memory.cgroup_limit_bytes, "no limit")));
  line("huge pages", fmt::format("{}{}", huge_pages_text(memory.huge_pages),
                                 memory.huge_page_bytes ? ", of " + human_bytes(*memory.huge_page_bytes) : ""));
  line("open files", report.limits.open_files ? fmt::format("{}", *report.limits.open_files) : "no limit");
  line("locked memory", size_or(report.limits.locked_bytes, "no limit"));
  line("io_uring", report.io_uring ? "there: " + report.reads : "not there: " + report.reads);
  line("drive", drive_text(report));
  for (const std::string& sentence : report.advice) out += fmt::format("\nwarning: {}\n", sentence);
  return out;
}

std::string machine_json(const MachineReport& report) {
  using Json = nlohmann::ordered_json;
  const auto optional = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json object;
  for (const TargetReport& target : report.targets) {
    object["cpu_targets"].push_back({{"name", target.name},
                                     {"needs", target.needs},
                                     {"supported", target.supported},
                                     {"chosen", target.chosen},
                                     {"fast", target.fast}});
  }
  object["threads"] = {
      {"chosen", report.cpu.threads},  {"why", report.cpu.explanation}, {"physical_cores", report.cpu.physical_cores},
      {"logical", report.cpu.logical}, {"allowed", report.cpu.allowed}, {"quota", optional(report.cpu.quota)}};
  if (report.throttling)
    object["throttling"] = {{"periods", report.throttling->periods}, {"throttled", report.throttling->throttled}};
  object["memory"] = {{"total_bytes", optional(report.memory.total_bytes)},
                      {"room_bytes", optional(report.memory.room_bytes())},
                      {"cgroup_limit_bytes", optional(report.memory.cgroup_limit_bytes)},
                      {"huge_pages", huge_pages_text(report.memory.huge_pages)}};
  object["limits"] = {{"open_files", optional(report.limits.open_files)},
                      {"open_files_max", optional(report.limits.open_files_max)},
                      {"locked_bytes", optional(report.limits.locked_bytes)},
                      {"address_bytes", optional(report.limits.address_bytes)}};
  object["io_uring"] = {{"available", report.io_uring}, {"reads", report.reads}};
  if (report.drive) {
    object["drive"] = {{"file", report.drive_file},
                       {"bytes_per_second", report.drive->best_bytes_per_second},
                       {"piece_bytes", report.drive->best.piece_bytes},
                       {"depth", report.drive->best.depth}};
  } else {
    object["drive"] = {{"problem", report.drive_problem}};
  }
  object["advice"] = report.advice;
  return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace moxie

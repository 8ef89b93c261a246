// What doctor says of the machine, against what the system itself says.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "doctor/examine_machine.h"
#include "kernels/select.h"

namespace moxie {
namespace {

TEST(DoctorMachine, SaysWhatTheSystemSays) {
  const MachineReport report = examine_machine({});
  ASSERT_EQ(report.targets.size(), cpu_targets().size());
  const auto chosen =
      std::find_if(report.targets.begin(), report.targets.end(), [](const TargetReport& t) { return t.chosen; });
  ASSERT_NE(chosen, report.targets.end());
  // Nothing better is possible.
  for (auto better = report.targets.begin(); better != chosen; ++better)
    EXPECT_FALSE(better->supported) << better->name;
  EXPECT_TRUE(chosen->supported);
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  EXPECT_EQ(report.cpu.allowed, CPU_COUNT(&allowed));
  EXPECT_LE(report.cpu.threads, CPU_COUNT(&allowed));
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_EQ(report.limits.open_files.value_or(RLIM_INFINITY), files.rlim_cur);
  EXPECT_FALSE(report.reads.empty());
  EXPECT_FALSE(report.drive);
  EXPECT_NE(report.drive_problem.find("--drive FILE"), std::string::npos);
}

TEST(DoctorMachine, AdvisesWhereAFewFilesMayBeOpen) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 100;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const MachineReport report = examine_machine({});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_NE(std::find(report.advice.begin(), report.advice.end(),
                      "100 files may be open at once, too few for models in many parts: ulimit -n 4096"),
            report.advice.end());
}

TEST(DoctorMachine, MeasuresOnlyWithAFileThatIsLargeEnough) {
  const auto path = std::filesystem::path(testing::TempDir()) / "moxie-doctor-drive";
  std::ofstream(path) << "small";
  const MachineReport report = examine_machine({.drive_file = path.string()});
  std::filesystem::remove(path);
  EXPECT_FALSE(report.drive);
  EXPECT_NE(report.drive_problem.find("it takes 64 MiB"), std::string::npos) << report.drive_problem;
  EXPECT_FALSE(examine_machine({.drive_file = path.string()}).drive_problem.empty());
}

TEST(DoctorMachine, TextAndJsonSayTheSame) {
  const MachineReport report = examine_machine({});
  const auto json = nlohmann::json::parse(machine_json(report));
  EXPECT_EQ(json["threads"]["chosen"], report.cpu.threads);
  EXPECT_EQ(json["cpu_targets"].size(), report.targets.size());
  EXPECT_EQ(json["io_uring"]["available"], report.io_uring);
  EXPECT_EQ(json["drive"]["problem"], report.drive_problem);
  const std::string text = machine_text(report);
  EXPECT_NE(text.find(report.cpu.explanation), std::string::npos);
  for (const std::string& sentence : report.advice) EXPECT_NE(text.find("warning: " + sentence), std::string::npos);
}

}  // namespace
}  // namespace moxie

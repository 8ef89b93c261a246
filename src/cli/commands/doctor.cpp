#include "cli/command.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "cli/progress.h"
#include "core/fail.h"
#include "core/folder.h"
#include "doctor/diagnosis_table.h"
#include "doctor/examine_machine.h"
#include "doctor/examine_model.h"
#include "doctor/report_json.h"

namespace moxie::cli::commands {
namespace {

std::string summary(const ModelReport& report) {
  std::string out = report.path + "\n";
  if (!report.format.empty()) {
    out += fmt::format("  {}, {}{}, {}", report.format, report.family.empty() ? "" : report.family + ", ", report.types,
                       human_bytes(report.bytes));
    if (report.experts > 0)
      out += fmt::format(", {} experts of which {} are used", report.experts, report.experts_used);
    out += "\n";
  }
  return out + (report.loads ? "  it loads\n" : "  it does not load\n");
}

std::string text_of(const Finding& finding) {
  std::string out = fmt::format("\n{} {}: {}\n", name(finding.severity), finding.code, finding.title);
  const auto line = [&](std::string_view what, const std::string& text) {
    if (!text.empty()) out += fmt::format("  {:<9} {}\n", what, text);
  };
  line("message", finding.message);
  line("found", finding.found);
  line("expected", finding.expected);
  line("nearest", finding.near_miss);
  line("why", finding.why);
  std::string said;
  for (const std::string& message : finding.elsewhere) said += (said.empty() ? "\"" : ", \"") + message + "\"";
  line("elsewhere", said);
  line("remedy", finding.remedy);
  return out;
}

class Doctor final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_header_flags(flags);
    flags.group("doctor");
    flags.toggle("scan", scan_);
    flags.toggle("verify", verify_, true, "compare every file with the SHA-256 that its store knows");
    flags.add("drive", drive_);
    flags.toggle("json", json_);
    flags.toggle("markdown", markdown_, true, "print docs/troubleshooting.md");
  }

  Result<int> run() override {
    if (markdown_) {
      MOXIE_TRY_VOID(print(troubleshooting_page()));
      return 0;
    }
    if (model_.positional.empty() && model_.engine.model.empty()) return examine_this_machine();
    MOXIE_TRY(const ModelReport report, examine());
    MOXIE_TRY_VOID(print(json_ ? report_json(report) : as_text(report)));
    return result(report);
  }

 private:
  // The drive is that of the largest model here, unless a file is named.
  Result<int> examine_this_machine() const {
    if (scan_ || verify_) return fail(ErrorCode::invalid_argument, "--scan and --verify look at a model; name one");
    std::string file = drive_;
    uint64_t most = 0;
    if (file.empty()) {
      for (const StoredModel& model : list_stored_models(environment_places())) {
        if (model.bytes <= most || !is_file(model.path)) continue;
        most = model.bytes;
        file = model.path;
      }
    }
    const Interruption interruption;
    const MachineReport report = examine_machine({.drive_file = file, .stop = &interruption.flag()});
    MOXIE_TRY_VOID(print(json_ ? machine_json(report) : machine_text(report)));
    return 0;
  }

  Result<ModelReport> examine() {
    if (auto settled = settle(model_); !settled.ok()) {
      // A name that leads nowhere has a diagnosis, flags that contradict each other have none.
      if (settled.error().diagnosis == nullptr) return std::move(settled).error();
      return report_of(model_.positional.empty() ? model_.engine.model : model_.positional, settled.error());
    }
    const Interruption interruption;
    Progress progress(scan_ || verify_ ? "reading" : "checking");
    auto report = examine_model(model_.engine.model, {.arch = model_.engine.arch,
                                                      .scan = scan_,
                                                      .verify = verify_,
                                                      .on_progress = [&](uint64_t done, uint64_t total) {
                                                        progress.update(done, total);
                                                        return !interruption.happened();
                                                      }});
    progress.clear();
    return report;
  }

  static std::string as_text(const ModelReport& report) {
    std::string out = summary(report);
    for (const Finding& finding : report.findings) out += text_of(finding);
    return out;
  }

  // 0: it loads and nothing is wrong. Else as running it would exit, or as damaged weights would.
  static int result(const ModelReport& report) {
    if (!report.loads) return exit_code(report.error);
    for (const Finding& finding : report.findings) {
      if (finding.severity == FindingSeverity::error) return exit_code(ErrorCode::corrupt);
    }
    return 0;
  }

  ModelOptions model_;
  std::string drive_;
  bool scan_ = false, verify_ = false, json_ = false, markdown_ = false;
};

}  // namespace

extern const CommandEntry doctor = {
    .name = "doctor",
    .summary = "say what is wrong with a model or with this machine, why, and what to type next",
    .usage = "[MODEL [--scan] [--verify]] [--drive FILE] [--json]",
    .detail =
        "With a MODEL: reads headers only; --scan and --verify read everything. The exit status is 0 where the model loads and "
        "nothing is wrong, else the one that running it would have.\n"
        "Without: shows the CPU target, threads, memory, limits and the speed of the drive.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Doctor>(); },
};

}  // namespace moxie::cli::commands

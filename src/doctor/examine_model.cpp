#include "doctor/examine_model.h"

#include <algorithm>
#include <array>
#include <map>

#include "core/fail.h"
#include "core/log.h"
#include "doctor/check.h"
#include "doctor/scan_weights.h"
#include "doctor/verify_files.h"
#include "format/weight_file.h"
#include "model/model.h"

namespace moxie {
namespace checks {
#define MOXIE_ENTRY(name) extern const ModelCheck name;
#include "doctor/checks.inc"
#undef MOXIE_ENTRY
}  // namespace checks

namespace {

constexpr std::array kChecks = {
#define MOXIE_ENTRY(name) &checks::name,
#include "doctor/checks.inc"
#undef MOXIE_ENTRY
};

// "Q4_K, Q6_K": the types of most of the bytes first.
std::string types_text(const WeightFiles& files) {
  std::map<std::string, uint64_t> bytes;
  for (const TensorInfo& tensor : files.tensors) bytes[tensor.dtype] += tensor.bytes;
  std::vector<std::pair<uint64_t, std::string>> order;
  for (const auto& [type, sum] : bytes) order.emplace_back(sum, type);
  std::sort(order.rbegin(), order.rend());
  std::string out;
  for (size_t i = 0; i < std::min<size_t>(order.size(), 3); ++i) out += (i > 0 ? ", " : "") + order[i].second;
  return order.size() > 3 ? out + ", ..." : out;
}

void describe(const WeightFiles& files, ModelReport& report) {
  report.format = files.format;
  report.types = types_text(files);
  for (const WeightPart& part : files.files) report.bytes += part.bytes;
}

void describe(const ModelPlan& plan, ModelReport& report) {
  report.family = std::string(plan.family->name);
  report.name = plan.hp.name;
  report.experts = plan.hp.router.experts;
  report.experts_used = plan.hp.router.used;
  report.parameters = plan.parameters;
}

}  // namespace

ModelReport report_of(const std::string& path, const Error& error) {
  Findings findings(path);
  findings.add(error);
  return {.path = path, .error = error.code, .findings = std::move(findings).take()};
}

Result<ModelReport> examine_model(const std::string& path, const ExamineOptions& options) {
  const auto files = open_weights(path);
  if (!files.ok()) return report_of(path, files.error());
  ModelReport report{.path = path};
  Findings findings(path);
  describe(*files, report);
  Log log;
  const auto plan = plan_model(*files, options.arch, log);
  for (const std::string& notice : log.notices()) findings.notice(notice);
  report.loads = plan.ok();
  if (plan.ok()) {
    describe(*plan, report);
  } else {
    findings.add(plan.error());
    report.error = plan.error().code;
  }
  for (const ModelCheck* check : kChecks) check->run({*files, plan.ok() ? &*plan : nullptr}, findings);
  if (options.verify) MOXIE_TRY_VOID(verify_files(*files, options.on_progress, findings));
  if (options.scan) MOXIE_TRY_VOID(scan_weights(*files, options.on_progress, findings));
  report.findings = std::move(findings).take();
  return report;
}

}  // namespace moxie

#include "doctor/list_models.h"

namespace moxie {

std::string ListedModel::why_not() const {
  if (loads()) return {};
  if (!stored.problem.empty()) return stored.problem;
  for (const Finding& finding : report.findings) {
    if (finding.severity == FindingSeverity::error) return finding.title;
  }
  return "unknown";
}

std::vector<ListedModel> examine_models(const std::vector<StoredModel>& models,
                                        const std::function<bool(const ListedModel&)>& on_model) {
  std::vector<ListedModel> listed;
  for (const StoredModel& model : models) {
    ListedModel one{.stored = model, .report = {.path = model.path, .error = ErrorCode::not_found}};
    if (model.problem.empty()) {
      if (auto report = examine_model(model.path); report.ok()) one.report = std::move(*report);
    }
    listed.push_back(std::move(one));
    if (on_model && !on_model(listed.back())) break;
  }
  return listed;
}

}  // namespace moxie

#include "cli/serve_models.h"

#include <algorithm>
#include <utility>

#include "cli/console.h"
#include "cli/find_model.h"
#include "core/fail.h"
#include "core/folder.h"
#include "doctor/list_models.h"

namespace moxie::cli {
namespace {

// Paths below the folder are the names of its models: clients need not know where it lies.
std::string id_of(const StoredModel& model, const std::string& folder) {
  std::string id = model.reference;
  if (folder.empty()) return id;
  if (id == folder) return file_name(folder);
  if (id.starts_with(folder)) id.erase(0, folder.size());
  id.erase(0, id.find_first_not_of('/'));
  return id;
}

std::vector<server::OfferedModel> look_in(const std::string& folder) {
  const auto stored = folder.empty() ? list_stored_models(environment_places()) : list_folder_models(folder);
  std::vector<server::OfferedModel> offered;
  for (ListedModel& model : examine_models(stored)) {
    offered.push_back({.id = id_of(model.stored, folder),
                       .path = model.stored.path,
                       .problem = model.why_not(),
                       .parameters = model.report.parameters,
                       .bytes = model.stored.bytes,
                       .experts = model.report.experts,
                       .experts_used = model.report.experts_used,
                       .findings = std::move(model.report.findings)});
  }
  return offered;
}

Result<server::ModelSource> one_model(ModelOptions& options, const std::atomic<bool>& interrupted) {
  options.interrupted = &interrupted;
  MOXIE_TRY_VOID(settle(options));
  return server::ModelSource{.models = {{.path = options.engine.model}},
                             .open = [options, &interrupted](const server::OfferedModel&, const std::atomic<bool>&) {
                               ModelOptions chosen = options;
                               return open_engine(chosen, &interrupted);
                             }};
}

}  // namespace

Result<server::ModelSource> served_models(ModelOptions& options, const std::string& folder,
                                          const std::atomic<bool>& interrupted) {
  const bool named = options.names_a_model();
  if (named && !folder.empty()) {
    return fail(ErrorCode::invalid_argument, "--models-dir {} and a model are given; leave one out", folder);
  }
  if (named) return one_model(options, interrupted);
  if (!folder.empty() && !is_folder(folder)) return fail(ErrorCode::not_found, "--models-dir {}: is no folder", folder);
  std::vector<server::OfferedModel> models = look_in(folder);
  const bool any = std::any_of(models.begin(), models.end(), [](const auto& model) { return model.problem.empty(); });
  if (!any && folder.empty()) {
    note("no model is given, and none that `moxie list` shows will load: the demo model answers");
    return one_model(options, interrupted);
  }
  if (options.watch) {
    return fail(ErrorCode::invalid_argument, "--watch shows one model, and several are offered; name one");
  }
  // What flags leave open is settled as for one of them: what is wrong with them is to show now.
  if (any) {
    options.engine.model =
        std::find_if(models.begin(), models.end(), [](const auto& model) { return model.problem.empty(); })->path;
    MOXIE_TRY_VOID(settle(options));
  }
  return server::ModelSource{.models = std::move(models),
                             .look = [folder] { return look_in(folder); },
                             .open =
                                 [options](const server::OfferedModel& model, const std::atomic<bool>& stop) {
                                   ModelOptions chosen = options;
                                   chosen.engine.model = model.path;
                                   return open_engine(chosen, &stop);
                                 }};
}

}  // namespace moxie::cli

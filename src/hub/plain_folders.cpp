#include "hub/plain_folders.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"
#include "hub/folder_models.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

std::string below(const std::string& path, const std::string& folder) {
  return fs::path(path).lexically_relative(folder).string();
}

}  // namespace

std::vector<StoredModel> list_plain(const PlainFolders& store, const StorePlaces& places) {
  std::vector<StoredModel> all;
  for (const std::string& folder : places.*store.folders) {
    std::vector<StoredModel> models = list_folder_models(folder);
    std::map<std::string, int> in_folder;
    for (const StoredModel& model : models) ++in_folder[parent_folder(model.path)];
    for (StoredModel& model : models) {
      std::string name = below(model.path, folder);
      const std::string parent = parent_folder(name);
      if (is_file(model.path) && parent != "." && in_folder[parent_folder(model.path)] == 1) name = parent;
      model.store = store.name;
      model.reference = fmt::format("{}{}", store.prefix, name);
      all.push_back(std::move(model));
    }
  }
  return all;
}

Result<StoredModel> find_plain(const PlainFolders& store, const StorePlaces& places, std::string_view wanted) {
  if (wanted.empty()) {
    return fail(ErrorCode::invalid_argument, "{} names no model; write {}, as `moxie list` shows it", store.prefix,
                store.summary);
  }
  const std::vector<StoredModel> models = list_plain(store, places);
  const std::string whole = fmt::format("{}{}", store.prefix, wanted);
  std::vector<StoredModel> found;
  const size_t colon = wanted.rfind(':');
  const std::string_view name = wanted.substr(0, colon);
  const std::string_view quantization = colon == std::string_view::npos ? "" : wanted.substr(colon + 1);
  for (const StoredModel& model : models) {
    if (model.reference == whole) return model;
    const std::string_view shown = std::string_view(model.reference).substr(store.prefix.size());
    const std::string with_file = std::string(shown) + "/" + file_name(model.path);
    if (shown == wanted || with_file == wanted || shown.ends_with("/" + std::string(wanted))) {
      found.push_back(model);
      continue;
    }
    const std::string parent = shown.ends_with(".gguf") ? parent_folder(std::string(shown)) : std::string(shown);
    const bool here = parent == name || parent.ends_with("/" + std::string(name));
    const GgufGroup group{.name = model.path, .files = {file_name(model.path)}};
    if (here && (quantization.empty() || !matching_groups({group}, quantization).empty())) found.push_back(model);
  }
  if (found.size() == 1) return found.front();
  std::string names;
  if (found.size() > 1) {
    for (const StoredModel& model : found)
      names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", model.reference, human_bytes(model.bytes));
    return fail(
        Diagnosis{
            .code = "several-models", .found = names, .expected = "one model", .near_miss = found.front().reference},
        ErrorCode::invalid_argument, "{} may be {} models: {}; name one", whole, found.size(), names);
  }
  std::vector<std::string_view> references;
  for (const StoredModel& model : models) references.push_back(model.reference);
  const std::string near(nearest_name(whole, references));
  const std::string looked = fmt::format("{}", fmt::join(places.*store.folders, ", "));
  return fail(Diagnosis{.code = "not-here", .found = "not in " + looked, .expected = whole, .near_miss = near},
              ErrorCode::not_found, "{} is not on this machine (looked in {}){}; {}", whole, looked,
              near.empty() ? "" : fmt::format("; there is {}", near),
              store.remedy.empty() ? fmt::format("download it: moxie pull {}", wanted) : std::string(store.remedy));
}

Result<Removal> plan_plain_removal(const PlainFolders& store, const StorePlaces& places, std::string_view wanted) {
  MOXIE_TRY(const StoredModel model, find_plain(store, places, wanted));
  Removal removal;
  if (is_file(model.path)) {
    const std::string folder = parent_folder(model.path);
    MOXIE_TRY(const std::vector<std::string> names, list_files(folder));
    for (const GgufGroup& group : matching_groups(group_gguf_files(names), file_name(model.path))) {
      for (const std::string& name : group.files) removal.paths.push_back(join_path(folder, name));
    }
  } else {
    removal.paths.push_back(model.path);
  }
  removal.bytes = model.bytes;
  return removal;
}

}  // namespace moxie

#include "hub/model_store.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "core/fail.h"
#include "core/folder.h"
#include "hub/folder_models.h"
#include "hub/hub_cache.h"

namespace moxie {
namespace stores {
#define MOXIE_ENTRY(name) extern const ModelStore name;
#include "hub/stores.inc"
#undef MOXIE_ENTRY
}  // namespace stores

namespace {

namespace fs = std::filesystem;

constexpr std::array kStores = {
#define MOXIE_ENTRY(name) &stores::name,
#include "hub/stores.inc"
#undef MOXIE_ENTRY
};

constexpr int kDepthMax = 3;

void add_folder(const std::string& folder, int depth, std::vector<StoredModel>& models) {
  std::vector<std::string> files, folders;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed); !failed && entry != fs::directory_iterator();
       entry.increment(failed)) {
    std::error_code ignored;
    const std::string name = entry->path().filename().string();
    if (name.starts_with(".")) continue;
    (entry->is_directory(ignored) ? folders : files).push_back(name);
  }
  for (const GgufGroup& group : group_gguf_files(files)) {
    const std::string path = join_path(folder, group.name);
    models.push_back(
        {.store = "folder", .reference = path, .path = path, .bytes = bytes_of_weights(folder, group.files)});
  }
  const bool safetensors =
      std::any_of(files.begin(), files.end(), [](const std::string& name) { return name.ends_with(".safetensors"); });
  if (safetensors) {
    std::erase_if(files, [](const std::string& name) { return !name.ends_with(".safetensors"); });
    models.push_back(
        {.store = "folder", .reference = folder, .path = folder, .bytes = bytes_of_weights(folder, files)});
  }
  if (depth == 0) return;
  std::sort(folders.begin(), folders.end());
  for (const std::string& name : folders) add_folder(join_path(folder, name), depth - 1, models);
}

}  // namespace

StorePlaces store_places(const std::function<const char*(const char* name)>& variable) {
  const auto value = [&](const char* name) -> std::string {
    const char* found = variable(name);
    return found == nullptr ? "" : found;
  };
  StorePlaces places{.hugging_face = hub_settings(variable).cache};
  const std::string home = value("HOME");
  std::string cache = value("XDG_CACHE_HOME");
  if (cache.empty() && !home.empty()) cache = join_path(home, ".cache");
  if (const std::string set = value("OLLAMA_MODELS"); !set.empty()) places.ollama.push_back(set);
  if (!home.empty()) {
    places.ollama.push_back(join_path(home, ".ollama/models"));
    places.lm_studio.push_back(join_path(home, ".lmstudio/models"));
  }
  // Where the Debian-like installation runs Ollama as a service.
  if (value("OLLAMA_MODELS").empty()) places.ollama.push_back("/usr/share/ollama/.ollama/models");
  if (!cache.empty()) places.lm_studio.push_back(join_path(cache, "lm-studio/models"));
  if (const std::string set = value("LLAMA_CACHE"); !set.empty()) places.llama_cpp.push_back(set);
  if (!cache.empty()) places.llama_cpp.push_back(join_path(cache, "llama.cpp"));
  if (!cache.empty()) places.quantized.push_back(join_path(cache, "moxie/quantized"));
  return places;
}

std::span<const ModelStore* const> model_stores() {
  return kStores;
}

const ModelStore* store_of(std::string_view reference) {
  const auto found = std::find_if(kStores.begin(), kStores.end(),
                                  [&](const ModelStore* store) { return reference.starts_with(store->prefix); });
  return found == kStores.end() ? nullptr : *found;
}

Result<FoundModel> locate_model(const std::string& reference, const StorePlaces& places) {
  const ModelStore* store = store_of(reference);
  // A file may be called anything.
  if (store == nullptr || is_present(reference)) return FoundModel{.path = reference};
  return store->find(std::string_view(reference).substr(store->prefix.size()), places);
}

std::vector<StoredModel> list_stored_models(const StorePlaces& places) {
  std::vector<StoredModel> all;
  for (const ModelStore* store : kStores) {
    std::vector<StoredModel> models = store->list(places);
    std::stable_sort(models.begin(), models.end(),
                     [](const StoredModel& a, const StoredModel& b) { return a.reference < b.reference; });
    all.insert(all.end(), models.begin(), models.end());
  }
  return all;
}

std::vector<StoredModel> list_folder_models(const std::string& folder) {
  std::vector<StoredModel> models;
  add_folder(folder, kDepthMax, models);
  return models;
}

Result<Removal> plan_removal(const std::string& reference, const StorePlaces& places) {
  const ModelStore* store = store_of(reference);
  if (store == nullptr) {
    return fail(
        ErrorCode::invalid_argument,
        "'{}' names no model of a store (hf:, ollama:, lmstudio:, llamacpp:, quantized:); `moxie list` shows them, and a "
        "file of your own is yours to delete",
        reference);
  }
  return store->plan_removal(std::string_view(reference).substr(store->prefix.size()), places);
}

Result<Removal> plan_unused(const StorePlaces& places) {
  Removal all;
  for (const ModelStore* store : kStores) {
    if (store->plan_unused == nullptr) continue;
    MOXIE_TRY(const Removal unused, store->plan_unused(places));
    all.paths.insert(all.paths.end(), unused.paths.begin(), unused.paths.end());
    all.bytes += unused.bytes;
  }
  return all;
}

Result<void> remove_paths(const Removal& removal) {
  for (const std::string& path : removal.paths) {
    std::error_code failed;
    fs::remove_all(path, failed);
    if (failed) return fail(ErrorCode::io, "{}: cannot be deleted: {}", path, failed.message());
  }
  return {};
}

}  // namespace moxie

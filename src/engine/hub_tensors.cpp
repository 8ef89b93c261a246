// The public API over tensors of a hub (moxie/hub.h).
#include <algorithm>
#include <atomic>
#include <map>
#include <optional>

#include "core/byte_reader.h"
#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/mount.h"
#include "core/printable.h"
#include "format/formats/safetensors_folder.h"
#include "format/tensor_values.h"
#include "hub/pull.h"
#include "hub/pull_choice.h"
#include "hub/remote_files.h"
#include "moxie/hub.h"

namespace moxie {
namespace {

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr uint64_t kIndexBytesMax = uint64_t{64} << 20;

HubSettings settings_of(const HubOptions& options) {
  HubSettings settings{.token = options.token,
                       .cache = options.cache_folder,
                       .offline = options.offline,
                       .trusted = {.file = options.ca_file, .folder = options.ca_folder}};
  settings.endpoint = options.endpoint;
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  return settings;
}

bool is_weight_file(std::string_view path) {
  return path.ends_with(".safetensors") || path.ends_with(".gguf");
}

// A model's files, wherever they are: a folder of this machine, a snapshot of the cache, or a mount of the hub's.
class Place {
 public:
  static Result<Place> open(const std::string& model_id, const HubOptions& options) {
    Place place;
    if (is_folder(model_id)) {
      place.folder_ = model_id;
      MOXIE_TRY(place.names_, list_files(model_id));
      return place;
    }
    MOXIE_TRY(const HubReference reference, parse_hub_reference(model_id));
    if (options.cache_folder.empty()) {
      return fail(ErrorCode::invalid_argument,
                  "{}: no cache folder is given; HubOptions::from_variables() takes that of the variables", model_id);
    }
    const HubSettings hub = settings_of(options);
    const std::string revision = reference.revision.empty() ? options.revision : reference.revision;
    const HubCache cache(hub.cache);
    if (const auto commit = cache.commit_of(reference.repo, revision)) {
      const std::vector<std::string> names = cache.files(reference.repo, *commit);
      // Of the weights all may be elsewhere: only the index and what has been fetched are here.
      if (place.is_whole(cache.snapshot(reference.repo, *commit), names)) {
        place.folder_ = cache.snapshot(reference.repo, *commit);
        place.names_ = names;
        return place;
      }
    }
    HubClient client(hub, {.on_wait = options.on_note}, nullptr);
    MOXIE_TRY(HubListing listing, client.list(reference.repo, revision));
    std::vector<HubEntry> files;
    for (const HubEntry& entry : listing.files) {
      if (is_weight_file(entry.path) || entry.path == kIndexName) files.push_back(entry);
    }
    MOXIE_TRY(place.remote_, RemoteFiles::open(hub, {.on_wait = options.on_note}, listing, files, nullptr));
    place.folder_ = fmt::format("hf:{}@{}", reference.repo, listing.commit);
    // Another object may have it mounted already: names of their own keep them apart.
    static std::atomic<uint64_t> number{0};
    place.folder_ += fmt::format("#{}", ++number);
    place.mount_ = std::make_unique<Mount>(place.folder_, place.remote_);
    for (const HubEntry& entry : files) place.names_.push_back(entry.path);
    place.listing_ = std::move(listing);
    return place;
  }

  std::string path(const std::string& name) const { return join_path(folder_, name); }
  bool has(std::string_view name) const { return std::find(names_.begin(), names_.end(), name) != names_.end(); }

  // Names of all tensors, with the file of each.
  Result<std::map<std::string, std::string>> tensors() const {
    std::map<std::string, std::string> found;
    if (has(kIndexName)) {
      const std::string index = path(std::string(kIndexName));
      MOXIE_TRY(const std::string text, read_text_file(index, kIndexBytesMax));
      MOXIE_TRY(const SafetensorsFiles files, parse_safetensors_index(text, index));
      for (const auto& [name, number] : files.weight_map) found.emplace(name, files.names[number]);
      return found;
    }
    if (remote_ != nullptr) remote_->read_ahead(8);
    for (const std::string& name : names_) {
      if (!is_weight_file(name)) continue;
      MOXIE_TRY(const WeightFiles file, open_single_file(path(name)));
      for (const TensorInfo& tensor : file.tensors) found.emplace(tensor.name, name);
    }
    if (found.empty()) return fail(ErrorCode::not_found, "{}: holds no safetensors and no GGUF files", folder_);
    return found;
  }

 private:
  static bool is_whole(const std::string& folder, const std::vector<std::string>& names) {
    const std::string index = join_path(folder, kIndexName);
    if (is_file(index)) {
      const auto text = read_text_file(index, kIndexBytesMax);
      if (!text.ok()) return false;
      const auto files = parse_safetensors_index(*text, index);
      return files.ok() && std::all_of(files->names.begin(), files->names.end(),
                                       [&](const std::string& name) { return is_file(join_path(folder, name)); });
    }
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return is_weight_file(name) && is_file(join_path(folder, name));
    });
  }

  std::string folder_;
  std::vector<std::string> names_;
  std::shared_ptr<RemoteFiles> remote_;
  std::unique_ptr<Mount> mount_;
  HubListing listing_;
};

Error no_tensor(const std::string& model, std::string_view name, const std::vector<std::string_view>& names) {
  const std::string_view near = nearest_name(name, names);
  return fail(ErrorCode::not_found, "{} has no tensor \"{}\"; {}", model, printable(name),
              near.empty() ? "list_tensors() names them all" : fmt::format("did you mean \"{}\"?", printable(near)));
}

Result<std::string> file_of(const std::map<std::string, std::string>& tensors, const std::string& model,
                            const std::string& name) {
  if (const auto found = tensors.find(name); found != tensors.end()) return found->second;
  std::vector<std::string_view> names;
  for (const auto& [other, file] : tensors) names.push_back(other);
  return no_tensor(model, name, names);
}

std::string replaced(std::string text, std::string_view what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

Result<HubTensor> read_one(const std::string& path, const std::string& name) {
  MOXIE_TRY(const WeightFiles file, open_single_file(path));
  const TensorInfo* tensor = file.find(name);
  if (tensor == nullptr) {
    std::vector<std::string_view> names;
    for (const TensorInfo& other : file.tensors) names.push_back(other.name);
    return no_tensor(path, name, names);
  }
  HubTensor loaded{.dtype = tensor->dtype, .shape = tensor->shape};
  MOXIE_TRY(loaded.bytes, read_tensor_bytes(file, *tensor));
  return loaded;
}

}  // namespace

HubOptions HubOptions::from_variables(const std::function<const char*(const char* name)>& variable) {
  const HubSettings settings = hub_settings(variable);
  HubOptions options;
  options.endpoint = settings.endpoint;
  options.token = settings.token;
  options.cache_folder = settings.cache;
  options.offline = settings.offline;
  options.ca_file = settings.trusted.file;
  options.ca_folder = settings.trusted.folder;
  return options;
}

Result<std::vector<float>> HubTensor::values() const {
  TensorInfo tensor{.name = "tensor", .dtype = dtype, .shape = shape, .bytes = bytes.size()};
  std::string type = dtype;
  for (char& c : type) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  tensor.type = find_quant_type(type);
  std::vector<float> all;
  MOXIE_TRY_VOID(decode_tensor_rows(tensor, bytes, [&](std::span<const float> row) -> Result<void> {
    all.insert(all.end(), row.begin(), row.end());
    return {};
  }));
  return all;
}

Result<std::string> TensorMetadata::download_file() {
  if (!local_path.empty() && is_file(local_path)) return local_path;
  if (is_folder(model_id)) {
    local_path = join_path(model_id, hf_filename);
    if (is_file(local_path)) return local_path;
    return fail(ErrorCode::not_found, "{}: is not there", local_path);
  }
  MOXIE_TRY(const HubReference reference, parse_hub_reference(model_id));
  PullSettings settings{.hub = settings_of(hub)};
  const std::string revision = reference.revision.empty() ? hub.revision : reference.revision;
  const HubCache cache(settings.hub.cache);
  if (const auto commit = cache.commit_of(reference.repo, revision)) {
    const std::string path = join_path(cache.snapshot(reference.repo, *commit), hf_filename);
    if (is_file(path)) return local_path = path;
  }
  std::atomic<bool> cancelled{false};
  settings.cancelled = &cancelled;
  settings.download.retries.on_wait = hub.on_note;
  settings.on_note = hub.on_note;
  settings.on_progress = [&](const PullProgress& now) {
    if (hub.on_progress && !hub.on_progress(now.done, now.total)) cancelled = true;
  };
  HubClient client(settings.hub, settings.download.retries, &cancelled);
  MOXIE_TRY(const HubListing listing, client.list(reference.repo, revision));
  const HubEntry* entry = listing.find(hf_filename);
  if (entry == nullptr) {
    return fail(ErrorCode::not_found, "{} has no file '{}' at revision {}", reference.repo, printable(hf_filename),
                printable(revision));
  }
  MOXIE_TRY(const Pulled pulled, pull_files(listing, {*entry}, settings));
  return local_path = pulled.files.front().local_path;
}

Result<HubTensor> TensorMetadata::load(bool remote) {
  if (remote && (local_path.empty() || !is_file(local_path))) {
    MOXIE_TRY(const Place place, Place::open(model_id, hub));
    if (!place.has(hf_filename))
      return fail(ErrorCode::not_found, "{} has no file '{}'", model_id, printable(hf_filename));
    return read_one(place.path(hf_filename), tensor_name);
  }
  MOXIE_TRY(const std::string path, download_file());
  return read_one(path, tensor_name);
}

Result<std::vector<TensorMetadata>> MoE::get_experts_metadata(int layer) const {
  if (layer < 0 || layer >= n_layers)
    return fail(ErrorCode::invalid_argument, "layer {} is not between 0 and {}", layer, n_layers - 1);
  MOXIE_TRY(const Place place, Place::open(model_id, hub));
  MOXIE_TRY(const auto tensors, place.tensors());
  const std::string of_layer = replaced(expert_tensor_name_template, "{layer}", std::to_string(layer));
  const std::vector<std::string> weights = weight_names.empty() ? std::vector<std::string>{""} : weight_names;
  std::vector<TensorMetadata> found;
  for (int expert = 0; expert < n_experts; ++expert) {
    const std::string of_expert = replaced(of_layer, "{expert}", std::to_string(expert));
    for (const std::string& weight : weights) {
      const std::string name = replaced(of_expert, "{weight}", weight);
      MOXIE_TRY(const std::string file, file_of(tensors, model_id, name));
      found.push_back({.model_id = model_id, .tensor_name = name, .hf_filename = file, .hub = hub});
    }
  }
  return found;
}

Result<TensorMetadata> MoE::get_router_metadata(int layer) const {
  if (layer < 0 || layer >= n_layers)
    return fail(ErrorCode::invalid_argument, "layer {} is not between 0 and {}", layer, n_layers - 1);
  return find_tensor(model_id, replaced(router_tensor_name_template, "{layer}", std::to_string(layer)), hub);
}

Result<TensorMetadata> find_tensor(const std::string& model_id, const std::string& tensor_name, const HubOptions& hub) {
  MOXIE_TRY(const Place place, Place::open(model_id, hub));
  MOXIE_TRY(const auto tensors, place.tensors());
  MOXIE_TRY(const std::string file, file_of(tensors, model_id, tensor_name));
  return TensorMetadata{.model_id = model_id, .tensor_name = tensor_name, .hf_filename = file, .hub = hub};
}

Result<std::vector<TensorMetadata>> list_tensors(const std::string& model_id, const HubOptions& hub) {
  MOXIE_TRY(const Place place, Place::open(model_id, hub));
  MOXIE_TRY(const auto tensors, place.tensors());
  std::vector<TensorMetadata> all;
  for (const auto& [name, file] : tensors)
    all.push_back({.model_id = model_id, .tensor_name = name, .hf_filename = file, .hub = hub});
  return all;
}

}  // namespace moxie

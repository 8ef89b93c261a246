// Ollama's models: "ollama:mixtral:8x7b". A manifest names the layers of a model; one of them is a GGUF file.
#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "core/byte_reader.h"
#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/json.h"
#include "core/printable.h"
#include "hub/folder_models.h"
#include "hub/model_store.h"

namespace moxie::stores {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHost = "registry.ollama.ai", kNamespace = "library", kTag = "latest";
constexpr uint64_t kManifestBytesMax = uint64_t{4} << 20;

struct Layer {
  std::string kind;    // "model", "template", "params", "projector", "adapter", ...
  std::string digest;  // "sha256-<hex>", as the blob is called
  uint64_t bytes = 0;
};

struct Name {
  std::string host, space, model, tag;
  std::string path() const { return fmt::format("{}/{}/{}/{}", host, space, model, tag); }
  // As short as Ollama itself would say it.
  std::string text() const {
    std::string out = model + ":" + tag;
    if (space != kNamespace || host != kHost) out = space + "/" + out;
    if (host != kHost) out = host + "/" + out;
    return out;
  }
};

bool is_name_part(std::string_view part) {
  return !part.empty() && part != "." && part != ".." && std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == ':';
  });
}

// "mixtral", "mixtral:8x7b", "user/model:tag", "host/user/model".
Result<Name> parse(std::string_view text) {
  Name name{.host = std::string(kHost), .space = std::string(kNamespace), .tag = std::string(kTag)};
  std::vector<std::string> parts;
  for (size_t from = 0; from <= text.size();) {
    const size_t end = std::min(text.find('/', from), text.size());
    parts.emplace_back(text.substr(from, end - from));
    from = end + 1;
  }
  const bool sound = !parts.empty() && parts.size() <= 3 && std::all_of(parts.begin(), parts.end(), is_name_part);
  if (!sound) {
    return fail(ErrorCode::invalid_argument,
                "'ollama:{}' is no name of Ollama's; write ollama:MODEL, ollama:MODEL:TAG or ollama:USER/MODEL:TAG",
                printable(text));
  }
  if (const size_t colon = parts.back().rfind(':'); colon != std::string::npos) {
    name.tag = parts.back().substr(colon + 1);
    parts.back().resize(colon);
  }
  name.model = parts.back();
  if (parts.size() > 1) name.space = parts[parts.size() - 2];
  if (parts.size() > 2) name.host = parts[0];
  if (!is_name_part(name.model) || !is_name_part(name.tag) || name.space.find(':') != std::string::npos) {
    return fail(ErrorCode::invalid_argument, "'ollama:{}' is no name of Ollama's; write ollama:MODEL:TAG",
                printable(text));
  }
  return name;
}

std::optional<std::string> blob_name(const std::string& digest) {
  constexpr std::string_view kPrefix = "sha256:";
  const std::string_view hex = std::string_view(digest).substr(std::min(kPrefix.size(), digest.size()));
  const bool sound = digest.starts_with(kPrefix) && hex.size() == 64 &&
                     std::all_of(hex.begin(), hex.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (!sound) return std::nullopt;
  return "sha256-" + std::string(hex);
}

Result<std::vector<Layer>> read_manifest(const std::string& path) {
  MOXIE_TRY(const std::string text, read_text_file(path, kManifestBytesMax));
  MOXIE_TRY(const Json json, parse_json(text, path));
  std::vector<Layer> layers;
  const auto add = [&](const Json& entry) {
    const Json *kind = entry.find("mediaType"), *digest = entry.find("digest"), *size = entry.find("size");
    if (kind == nullptr || digest == nullptr || kind->text() == nullptr || digest->text() == nullptr) return;
    const auto blob = blob_name(*digest->text());
    if (!blob) return;
    const int64_t bytes = size == nullptr ? 0 : size->integer().value_or(0);
    layers.push_back({kind->text()->substr(kind->text()->rfind('.') + 1), *blob,
                      bytes > 0 ? static_cast<uint64_t>(bytes) : 0});
  };
  if (const Json* config = json.find("config")) add(*config);
  const Json* list = json.find("layers");
  if (list == nullptr || list->array() == nullptr) {
    return fail(ErrorCode::corrupt,
                "{}: is no manifest of Ollama's (it has no layers); pull the model again with Ollama", path);
  }
  for (const Json& entry : *list->array()) add(entry);
  return layers;
}

// Every manifest below a store's folder: its name and its path.
std::vector<std::pair<Name, std::string>> manifests(const std::string& store) {
  std::vector<std::pair<Name, std::string>> found;
  const fs::path root = fs::path(store) / "manifests";
  std::error_code failed, ignored;
  for (fs::recursive_directory_iterator entry(root, failed); !failed && entry != fs::recursive_directory_iterator();
       entry.increment(failed)) {
    if (!entry->is_regular_file(ignored)) continue;
    std::vector<std::string> parts;
    for (const fs::path& part : entry->path().lexically_relative(root)) parts.push_back(part.string());
    if (parts.size() != 4 || parts[3].starts_with(".")) continue;
    found.push_back({{parts[0], parts[1], parts[2], parts[3]}, entry->path().string()});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return found;
}

std::string blob_path(const std::string& store, const std::string& digest) {
  return join_path(join_path(store, "blobs"), digest);
}

const Layer* layer_of(const std::vector<Layer>& layers, std::string_view kind) {
  const auto found = std::find_if(layers.begin(), layers.end(), [&](const Layer& layer) { return layer.kind == kind; });
  return found == layers.end() ? nullptr : &*found;
}

std::string problem_of(const std::string& store, const Layer& model) {
  const std::string path = blob_path(store, model.digest);
  if (is_file(path)) return {};
  return is_file(path + "-partial") ? "its download did not finish" : "its blob is not there";
}

std::vector<StoredModel> list(const StorePlaces& places) {
  std::vector<StoredModel> models;
  std::set<std::string> seen;
  for (const std::string& store : places.ollama) {
    for (const auto& [name, path] : manifests(store)) {
      if (!seen.insert(name.text()).second) continue;
      StoredModel model{.store = "ollama", .reference = "ollama:" + name.text(), .path = path};
      const auto layers = read_manifest(path);
      const Layer* weights = layers.ok() ? layer_of(*layers, "model") : nullptr;
      if (weights == nullptr) {
        model.problem = layers.ok() ? "its manifest names no weights" : layers.error().message;
      } else {
        model.path = blob_path(store, weights->digest);
        model.bytes = weights->bytes;
        model.problem = problem_of(store, *weights);
      }
      models.push_back(std::move(model));
    }
  }
  return models;
}

Error not_here(const Name& wanted, const StorePlaces& places) {
  std::vector<std::string> names;
  for (const StoredModel& model : list(places)) names.push_back(model.reference);
  const std::string text = "ollama:" + wanted.text();
  // Another tag of the same model is nearer than any other name.
  std::string near;
  const std::string untagged = text.substr(0, text.rfind(':') + 1);
  for (const std::string& name : names) {
    if (near.empty() && name.starts_with(untagged)) near = name;
  }
  if (near.empty()) {
    const std::vector<std::string_view> views(names.begin(), names.end());
    near = nearest_name(text, views);
  }
  const std::string looked = fmt::format("{}", fmt::join(places.ollama, ", "));
  return fail(Diagnosis{.code = "not-here", .found = "not in " + looked, .expected = text, .near_miss = near},
              ErrorCode::not_found, "{} is not on this machine (looked in {}){}; download it: ollama pull {}", text,
              looked, near.empty() ? "" : fmt::format("; there is {}", near), wanted.text());
}

// What of the layers beside the weights is of no use here.
std::vector<std::string> notices_of(const std::vector<Layer>& layers) {
  std::vector<std::string> notices;
  if (layer_of(layers, "template") != nullptr) {
    notices.push_back(
        "Ollama's own template of the model is in Go's template language and is not used; the template in the GGUF file "
        "is, or give --chat-template");
  }
  if (layer_of(layers, "params") != nullptr)
    notices.push_back("Ollama's parameters of the model (stop texts, temperature) are not used; give them as flags");
  if (layer_of(layers, "adapter") != nullptr)
    notices.push_back("Ollama applies an adapter to this model, which moxie does not: answers differ");
  return notices;
}

Result<FoundModel> find(std::string_view rest, const StorePlaces& places) {
  MOXIE_TRY(const Name wanted, parse(rest));
  for (const std::string& store : places.ollama) {
    const std::string manifest = join_path(join_path(store, "manifests"), wanted.path());
    if (!is_file(manifest)) continue;
    MOXIE_TRY(const std::vector<Layer> layers, read_manifest(manifest));
    const Layer* weights = layer_of(layers, "model");
    if (weights == nullptr) {
      return fail(Diagnosis{.code = "no-weights", .found = "no layer of weights", .expected = "a GGUF layer"},
                  ErrorCode::unsupported, "{}: names no weights: the model runs on a server of Ollama's, not here",
                  manifest);
    }
    if (const std::string problem = problem_of(store, *weights); !problem.empty()) {
      return fail(Diagnosis{.code = "broken-link", .found = problem, .expected = weights->digest}, ErrorCode::not_found,
                  "ollama:{}: {} ({}); download it: ollama pull {}", wanted.text(), problem,
                  blob_path(store, weights->digest), wanted.text());
    }
    return FoundModel{.path = blob_path(store, weights->digest), .notices = notices_of(layers)};
  }
  return not_here(wanted, places);
}

Result<Removal> plan_removal(std::string_view rest, const StorePlaces& places) {
  MOXIE_TRY(const Name wanted, parse(rest));
  for (const std::string& store : places.ollama) {
    const std::string manifest = join_path(join_path(store, "manifests"), wanted.path());
    if (!is_file(manifest)) continue;
    Removal removal;
    removal.paths.push_back(manifest);
    std::set<std::string> used;
    for (const auto& [name, path] : manifests(store)) {
      if (path == fs::path(manifest).lexically_normal().string() || path == manifest) continue;
      // A manifest that cannot be read may refer to anything.
      MOXIE_TRY(const std::vector<Layer> layers, read_manifest(path));
      for (const Layer& layer : layers) used.insert(layer.digest);
    }
    MOXIE_TRY(const std::vector<Layer> layers, read_manifest(manifest));
    uint64_t kept = 0;
    for (const Layer& layer : layers) {
      const std::string blob = blob_path(store, layer.digest);
      if (!is_file(blob)) continue;
      if (used.contains(layer.digest)) {
        kept += bytes_of_file(blob);
        continue;
      }
      if (std::find(removal.paths.begin(), removal.paths.end(), blob) != removal.paths.end()) continue;
      removal.paths.push_back(blob);
      removal.bytes += bytes_of_file(blob);
    }
    if (kept > 0)
      removal.notices.push_back(fmt::format("{} stay: other models of Ollama's use them", human_bytes(kept)));
    return removal;
  }
  return not_here(wanted, places);
}

Result<Removal> plan_unused(const StorePlaces& places) {
  Removal removal;
  for (const std::string& store : places.ollama) {
    std::set<std::string> used;
    for (const auto& [name, path] : manifests(store)) {
      // A manifest that cannot be read may refer to anything.
      MOXIE_TRY(const std::vector<Layer> layers, read_manifest(path));
      for (const Layer& layer : layers) used.insert(layer.digest);
    }
    std::error_code failed;
    for (fs::directory_iterator entry(fs::path(store) / "blobs", failed); !failed && entry != fs::directory_iterator();
         entry.increment(failed)) {
      const std::string name = entry->path().filename().string();
      if (name.find("-partial") != std::string::npos || used.contains(name)) continue;
      removal.paths.push_back(entry->path().string());
      removal.bytes += bytes_of_file(entry->path().string());
    }
  }
  return removal;
}

}  // namespace

extern constinit const ModelStore ollama = {
    .name = "ollama",
    .prefix = "ollama:",
    .summary = "ollama:MODEL[:TAG]",
    .list = list,
    .find = find,
    .plan_removal = plan_removal,
    .plan_unused = plan_unused,
};

}  // namespace moxie::stores

#include "format/formats/safetensors_folder.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "core/byte_reader.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/json.h"
#include "format/messages.h"
#include "format/sniff.h"

namespace moxie {
namespace {

constexpr std::string_view kEnding = ".safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr uint64_t kIndexBytesMax = uint64_t{64} << 20;
constexpr int64_t kShardsMax = 99999;

// "model-00002-of-00019.safetensors"; prefix "model".
struct ShardName {
  std::string prefix;
  int64_t number = 0, count = 0;
};

std::optional<ShardName> parse_shard_name(const std::string& name) {
  if (!name.ends_with(kEnding)) return std::nullopt;
  const std::string stem = name.substr(0, name.size() - kEnding.size());
  const size_t of = stem.rfind("-of-");
  if (of == std::string::npos || of == 0) return std::nullopt;
  const size_t dash = stem.rfind('-', of - 1);
  if (dash == std::string::npos) return std::nullopt;
  const auto number = [&stem](size_t begin, size_t end) -> int64_t {
    int64_t value = -1;
    const auto [stop, error] = std::from_chars(stem.data() + begin, stem.data() + end, value);
    return error == std::errc() && stop == stem.data() + end ? value : -1;
  };
  ShardName shard{stem.substr(0, dash), number(dash + 1, of), number(of + 4, stem.size())};
  if (shard.number < 1 || shard.count < shard.number || shard.count > kShardsMax) return std::nullopt;
  return shard;
}

Result<void> check_present(const SafetensorsFiles& files, const std::string& listed_by) {
  std::vector<std::string> missing;
  for (const std::string& name : files.names) {
    if (!is_file(join_path(files.folder, name))) missing.push_back(name);
  }
  if (missing.empty()) return {};
  return fail(Diagnosis{.code = "missing-files",
                        .found = fmt::format("{} of {} files", files.names.size() - missing.size(), files.names.size()),
                        .expected = name_some(missing)},
              ErrorCode::not_found,
              "{}: of the model's {} files {} are missing: {}; download them into the same folder", listed_by,
              files.names.size(), missing.size(), name_some(missing));
}

Result<SafetensorsFiles> from_index(const std::string& path) {
  MOXIE_TRY(const std::string text, read_text_file(path, kIndexBytesMax));
  if (auto error = diagnose_bytes(path, std::string_view(text).substr(0, kSniffBytes), text.size()))
    return std::move(*error);
  MOXIE_TRY(SafetensorsFiles files, parse_safetensors_index(text, path));
  MOXIE_TRY_VOID(check_present(files, path));
  return files;
}

// Shards without an index: the names say how many there must be.
Result<SafetensorsFiles> from_shards(const std::string& folder, const ShardName& shard, std::string_view sample) {
  SafetensorsFiles files{.folder = folder};
  const size_t digits = sample.rfind("-of-") - shard.prefix.size() - 1;
  for (int64_t i = 1; i <= shard.count; ++i) {
    files.names.push_back(fmt::format("{}-{:0{}}-of-{:0{}}{}", shard.prefix, i, digits, shard.count, digits, kEnding));
  }
  MOXIE_TRY_VOID(check_present(files, folder));
  return files;
}

Error refuse_names(const std::string& folder, const std::vector<std::string>& names) {
  if (std::any_of(names.begin(), names.end(),
                  [](const std::string& name) { return name.starts_with("adapter_model"); })) {
    return fail(Diagnosis{.code = "adapter", .found = "adapter_model.safetensors", .expected = "a model"},
                ErrorCode::unsupported,
                "{}: holds only an adapter (adapter_model.safetensors), not a model; merge it into its base model, or "
                "give a model that has "
                "it merged",
                folder);
  }
  return fail(Diagnosis{.code = "several-models",
                        .found = name_some(names),
                        .expected = "one model",
                        .near_miss = join_path(folder, names.front())},
              ErrorCode::invalid_argument,
              "{}: holds {} safetensors files that are no shards of one model: {}; give the path of one of them",
              folder, names.size(), name_some(names));
}

bool is_model_file(const std::string& name) {
  return name.ends_with(kEnding) && !name.starts_with("adapter_model");
}

Result<SafetensorsFiles> from_folder(const std::string& folder) {
  const std::string index = join_path(folder, kIndexName);
  if (is_file(index) || is_broken_link(index)) {
    MOXIE_TRY_VOID(check_exists(index));
    return from_index(index);
  }
  MOXIE_TRY(const std::vector<std::string> all, list_files(folder));
  std::vector<std::string> named, models;
  for (const std::string& name : all) {
    if (!name.ends_with(kEnding)) continue;
    named.push_back(name);
    if (is_model_file(name)) models.push_back(name);
  }
  if (std::binary_search(models.begin(), models.end(), "model.safetensors")) {
    MOXIE_TRY_VOID(check_exists(join_path(folder, "model.safetensors")));
    return SafetensorsFiles{.folder = folder, .names = {"model.safetensors"}};
  }
  // Names beginning "model" are the model; those of Mistral's own layout where there are none, others only where there
  // is nothing else.
  std::vector<std::string> main;
  for (const std::string_view beginning : {"model", "consolidated", ""}) {
    if (!main.empty()) continue;
    std::copy_if(models.begin(), models.end(), std::back_inserter(main),
                 [&](const std::string& name) { return name.starts_with(beginning); });
  }
  std::set<std::string> families;
  for (const std::string& name : main) {
    const std::optional<ShardName> shard = parse_shard_name(name);
    families.insert(shard ? fmt::format("{}-of-{}", shard->prefix, shard->count) : name);
  }
  if (families.size() != 1) return refuse_names(folder, main.empty() ? named : main);
  if (const std::optional<ShardName> shard = parse_shard_name(main.front()))
    return from_shards(folder, *shard, main.front());
  MOXIE_TRY_VOID(check_exists(join_path(folder, main.front())));
  return SafetensorsFiles{.folder = folder, .names = {main.front()}};
}

Result<SafetensorsFiles> from_file(const std::string& path) {
  const std::string folder = parent_folder(path), name = file_name(path);
  if (name.ends_with(kEnding) && !is_model_file(name)) return refuse_names(path, {name});
  // One shard stands for its model, as with GGUF parts.
  const std::optional<ShardName> shard = parse_shard_name(name);
  if (shard && shard->count > 1) {
    const std::string index = join_path(folder, shard->prefix + std::string(kEnding) + ".index.json");
    return is_file(index) ? from_index(index) : from_shards(folder, *shard, name);
  }
  return SafetensorsFiles{.folder = folder, .names = {name}};
}

}  // namespace

Result<SafetensorsFiles> parse_safetensors_index(std::string_view text, const std::string& path) {
  const JsonLimits limits{.bytes_max = kIndexBytesMax, .depth_max = 16, .distinct_keys = true};
  auto parsed = parse_json(text, path, limits);
  if (!parsed.ok()) return add_remedy(std::move(parsed).error(), "download the index again");
  const Json json = std::move(*parsed);
  const Json* map = json.find("weight_map");
  if (map == nullptr || map->object() == nullptr || map->object()->empty()) {
    return fail(Diagnosis{.code = "damaged", .found = "an index without weight_map", .expected = "weight_map"},
                ErrorCode::corrupt, "{}: has no weight_map of tensors to files; download it again", path);
  }
  SafetensorsFiles files{.folder = parent_folder(path)};
  std::map<std::string, size_t> number;
  for (const JsonMember& member : *map->object()) {
    const std::string* name = member.value.text();
    if (name == nullptr || name->empty() || name->find_first_of(std::string_view("/\\\0", 3)) != std::string::npos ||
        *name == "." || *name == "..") {
      return fail(ErrorCode::corrupt, "{}: maps tensor \"{}\" to {}, which is no file name; download the index again",
                  path, printable(member.key), printable(to_text(member.value)));
    }
    if (name->ends_with(".bin") || name->ends_with(".pt") || name->ends_with(".pth")) {
      return fail(Diagnosis{.code = "pickle", .found = printable(*name), .expected = "*.safetensors"},
                  ErrorCode::unsupported,
                  "{}: lists PyTorch files ({}). moxie does not read these, as loading a pickle runs code from the "
                  "file; get the safetensors "
                  "revision of the model or a GGUF file",
                  path, printable(*name));
    }
    number.emplace(*name, 0);
  }
  for (auto& [name, position] : number) {
    position = files.names.size();
    files.names.push_back(name);
  }
  for (const JsonMember& member : *map->object()) files.weight_map.emplace(member.key, number.at(*member.value.text()));
  return files;
}

Result<SafetensorsFiles> choose_safetensors(const std::string& path) {
  if (is_folder(path)) return from_folder(path);
  return path.ends_with(".json") ? from_index(path) : from_file(path);
}

}  // namespace moxie

// Safetensors: one file or several with an index, with the config.json and tokenizer files beside them.
#include <algorithm>

#include "core/byte_reader.h"
#include "core/fail.h"
#include "core/folder.h"
#include "format/config.h"
#include "format/formats/safetensors_folder.h"
#include "format/formats/safetensors_header.h"
#include "format/formats/safetensors_mistral.h"
#include "format/formats/safetensors_quantized.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"
#include "format/sniff.h"
#include "format/weight_file.h"

namespace moxie::formats {
namespace {

constexpr uint64_t kParamsBytesMax = uint64_t{1} << 20;

bool recognises_file(std::string_view first_bytes, uint64_t) {
  return begins_as_safetensors(first_bytes) ||
         (first_bytes.starts_with("{") && first_bytes.find("\"weight_map\"") != std::string_view::npos);
}

bool recognises_folder(const std::string& path) {
  const auto names = list_files(path);
  return names.ok() && std::any_of(names->begin(), names->end(), [](const std::string& name) {
           return name.ends_with(".safetensors") || name == "model.safetensors.index.json";
         });
}

Result<SafetensorsHeader> read_file(const std::string& path, uint64_t& bytes) {
  MOXIE_TRY(const FileSource source, FileSource::open(path));
  bytes = source.bytes();
  MOXIE_TRY(const std::string start, read_start(source, kSniffBytes));
  if (!begins_as_safetensors(start)) return unknown_file_error(path, start, bytes);
  return read_safetensors_header(source);
}

// Adds the tensors of file number `number`: those the index maps to it, or all where there is no index.
Result<void> add_tensors(const SafetensorsFiles& chosen, size_t number, SafetensorsHeader header, WeightFiles& files,
                         size_t& unmapped) {
  for (TensorInfo& tensor : header.tensors) {
    if (!chosen.weight_map.empty()) {
      const auto mapped = chosen.weight_map.find(tensor.name);
      if (mapped == chosen.weight_map.end()) ++unmapped;
      if (mapped == chosen.weight_map.end() || mapped->second != number) continue;
    }
    if (const TensorInfo* other = files.find(tensor.name)) {
      return fail(Diagnosis{.code = "mixed-files",
                            .found = fmt::format("{} in two files", printable(tensor.name)),
                            .expected = "each tensor once"},
                  ErrorCode::corrupt,
                  "{} and {}: both hold the tensor \"{}\": files of different models are mixed; download them again",
                  files.files[static_cast<size_t>(other->file)].path, files.files[number].path, printable(tensor.name));
    }
    tensor.file = static_cast<int>(number);
    files.add(std::move(tensor));
  }
  return {};
}

Result<void> check_map(const SafetensorsFiles& chosen, const WeightFiles& files) {
  if (chosen.weight_map.empty() || files.tensors.size() == chosen.weight_map.size()) return {};
  std::vector<std::string> missing;
  for (const auto& [name, number] : chosen.weight_map) {
    if (files.find(name) == nullptr) missing.push_back(fmt::format("{} in {}", name, chosen.names[number]));
  }
  std::sort(missing.begin(), missing.end());
  return fail(Diagnosis{.code = "mixed-files",
                        .found = fmt::format("no {}", name_some(missing, 4)),
                        .expected = fmt::format("{} tensors", chosen.weight_map.size())},
              ErrorCode::corrupt,
              "{}: the index names {} tensors that their files do not hold: {}; files of different models are mixed, "
              "download them "
              "again",
              chosen.folder, missing.size(), name_some(missing, 4));
}

// What params.json says, as the text of a config.json.
Result<std::string> read_params(const std::string& folder) {
  const std::string path = join_path(folder, "params.json");
  if (!is_file(path)) {
    return fail(Diagnosis{.code = "no-config", .found = "no params.json", .expected = "params.json beside the weights"},
                ErrorCode::not_found,
                "{}: params.json is missing; the weights are in Mistral's own layout, and the model's sizes stand "
                "there: download it into the same folder",
                folder);
  }
  MOXIE_TRY(const std::string text, read_text_file(path, kParamsBytesMax));
  return config_from_params(text, path);
}

// GPTQ and AWQ of 2023 have in a file of their own what config.json says under "quantization_config" today.
Result<void> add_quantization(const std::string& folder, WeightFiles& files) {
  constexpr std::string_view kPrefix = "quantization_config.";
  constexpr std::pair<const char*, const char*> kNames[] = {{"quantize_config.json", "gptq"},
                                                            {"quant_config.json", "awq"}};
  const auto& all = files.metadata.all();
  const auto at = all.lower_bound(kPrefix);
  if (at != all.end() && at->first.starts_with(kPrefix)) return {};
  if (std::none_of(files.tensors.begin(), files.tensors.end(),
                   [](const TensorInfo& tensor) { return tensor.name.ends_with(".qweight"); })) {
    return {};
  }
  for (const auto& [name, method] : kNames) {
    const std::string path = join_path(folder, name);
    if (!is_file(path)) continue;
    MOXIE_TRY(const std::string text, read_text_file(path, kParamsBytesMax));
    MOXIE_TRY(const Metadata said, parse_config(text, path));
    files.metadata.set(std::string(kPrefix) + "quant_method", std::string(method));
    for (const auto& [key, value] : said.all()) files.metadata.set(std::string(kPrefix) + key, value);
    return {};
  }
  return {};
}

Result<WeightFiles> open(const std::string& path) {
  MOXIE_TRY(const SafetensorsFiles chosen, choose_safetensors(path));
  WeightFiles files;
  files.path = path;
  files.format = "safetensors";
  files.scheme = NameScheme::hugging_face;
  size_t unmapped = 0;
  for (size_t number = 0; number < chosen.names.size(); ++number) {
    WeightPart part{.path = join_path(chosen.folder, chosen.names[number])};
    MOXIE_TRY(SafetensorsHeader header, read_file(part.path, part.bytes));
    files.files.push_back(std::move(part));
    MOXIE_TRY_VOID(add_tensors(chosen, number, std::move(header), files, unmapped));
  }
  MOXIE_TRY_VOID(check_map(chosen, files));
  if (unmapped > 0) files.notices.push_back(fmt::format("{} tensors are in no entry of the index: ignored", unmapped));
  std::string config;
  if (is_mistral_layout(files)) {
    MOXIE_TRY(files, rename_mistral(std::move(files)));
    MOXIE_TRY(config, read_params(chosen.folder));
  } else {
    MOXIE_TRY(config, read_config(chosen.folder));
  }
  MOXIE_TRY(files.metadata, parse_config(config, join_path(chosen.folder, "config.json")));
  MOXIE_TRY_VOID(add_quantization(chosen.folder, files));
  MOXIE_TRY(files, join_quantized(std::move(files)));
  MOXIE_TRY_VOID(refuse_quantized(files));
  files.config = std::move(config);
  MOXIE_TRY(files.tokenizer, read_tokenizer_files(chosen.folder, files.metadata));
  return files;
}

}  // namespace

extern constinit const WeightFormat safetensors = {
    .name = "safetensors",
    .summary = "safetensors with config.json, one file or several, Hugging Face names; Mistral's own layout",
    .recognises_file = recognises_file,
    .recognises_folder = recognises_folder,
    .open = open,
};

}  // namespace moxie::formats

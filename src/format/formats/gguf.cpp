// GGUF: one file, or several parts that each hold some of the tensors.
#include <algorithm>

#include "core/byte_reader.h"
#include "core/fail.h"
#include "core/folder.h"
#include "format/formats/gguf_header.h"
#include "format/formats/gguf_pack.h"
#include "format/formats/gguf_split.h"
#include "format/messages.h"
#include "format/weight_file.h"

namespace moxie::formats {
namespace {

bool recognises_file(std::string_view first_bytes, uint64_t) {
  return first_bytes.starts_with("GGUF");
}

bool recognises_folder(const std::string& path) {
  const auto names = list_files(path);
  return names.ok() &&
         std::any_of(names->begin(), names->end(), [](const std::string& name) { return name.ends_with(".gguf"); });
}

void describe_tokenizer(GgufHeader& header, WeightFiles& files) {
  TokenizerSource& tokenizer = files.tokenizer;
  const Metadata& metadata = files.metadata;
  if (!header.vocabulary.tokens.empty()) {
    tokenizer.gguf = std::move(header.vocabulary);
  } else if (auto whole = metadata.text("tokenizer.huggingface.json")) {
    tokenizer.files["tokenizer.json"] = std::move(*whole);
  }
  constexpr std::string_view kTemplate = "tokenizer.chat_template";
  for (auto entry = metadata.all().lower_bound(kTemplate); entry != metadata.all().end(); ++entry) {
    const std::string& key = entry->first;
    if (!key.starts_with(kTemplate)) break;
    const auto* text = std::get_if<std::string>(&entry->second);
    if (text == nullptr) continue;
    if (key == kTemplate) tokenizer.chat_templates[""] = *text;
    if (key.starts_with("tokenizer.chat_template.")) tokenizer.chat_templates[key.substr(kTemplate.size() + 1)] = *text;
  }
  const std::string arch = metadata.text("general.architecture").value_or("");
  tokenizer.configured_vocab_size = metadata.integer(arch + ".vocab_size").value_or(0);
}

Result<WeightFiles> join_parts(const std::string& path, std::vector<GgufPart> parts) {
  WeightFiles files;
  files.path = path;
  files.scheme = NameScheme::gguf;
  files.format = fmt::format("GGUF v{}", parts.front().header.version);
  for (size_t i = 0; i < parts.size(); ++i) {
    GgufPart& part = parts[i];
    files.files.push_back({part.path, part.bytes});
    for (TensorInfo& tensor : part.header.tensors) {
      if (const TensorInfo* other = files.find(tensor.name)) {
        return fail(
            Diagnosis{.code = "mixed-files",
                      .found = fmt::format("{} in two parts", printable(tensor.name)),
                      .expected = "each tensor once"},
            ErrorCode::corrupt,
            "{} and {}: both hold the tensor \"{}\": parts of different uploads are mixed; download all parts again",
            files.files[static_cast<size_t>(other->file)].path, part.path, printable(tensor.name));
      }
      tensor.file = static_cast<int>(i);
      files.add(std::move(tensor));
    }
    for (std::string& notice : part.header.notices) files.notices.push_back(std::move(notice));
  }
  files.metadata = std::move(parts.front().header.metadata);
  describe_tokenizer(parts.front().header, files);
  return files;
}

// NVFP4 files may have a factor for a whole matrix, or for each of its experts, in a tensor of its own. Without it the
// numbers are wrong.
Result<void> refuse_scales(const WeightFiles& files) {
  constexpr std::string_view kScale = ".scale";
  for (const TensorInfo& tensor : files.tensors) {
    if (!tensor.name.ends_with(kScale)) continue;
    const std::string matrix = tensor.name.substr(0, tensor.name.size() - kScale.size()) + ".weight";
    if (files.find(matrix) == nullptr) continue;
    return fail(
        Diagnosis{.code = "type-not-computed",
                  .found = fmt::format("{} beside {}", printable(tensor.name), printable(matrix)),
                  .expected = "weights without factors in a tensor of their own"},
        ErrorCode::unsupported,
        "{}: '{}' multiplies all of '{}', as some NVFP4 files have it, which moxie does not compute; take another "
        "quantization of the same model (Q4_K_M, Q8_0, MXFP4, ...)",
        files.path, printable(tensor.name), printable(matrix));
  }
  return {};
}

Result<WeightFiles> open(const std::string& path) {
  std::string file = path;
  if (is_folder(path)) {
    MOXIE_TRY(file, choose_gguf(path));
  }
  MOXIE_TRY(std::vector<GgufPart> parts, read_gguf_parts(file));
  if (const std::string_view what = gguf_side_file(parts.front().header.metadata); !what.empty()) {
    return fail(
        Diagnosis{.code = std::string(what).find("adapter") != std::string::npos ? "adapter" : "side-file",
                  .found = std::string(what),
                  .expected = "a model"},
        ErrorCode::unsupported,
        "{}: is {}, not a model (general.type \"{}\", general.architecture \"{}\"); give the model's own .gguf file",
        parts.front().path, what, printable(parts.front().header.metadata.text("general.type").value_or("")),
        printable(parts.front().header.metadata.text("general.architecture").value_or("")));
  }
  const bool packed = is_pack(parts.front().header);
  if (packed) {
    MOXIE_TRY(const FileSource source, FileSource::open(parts.front().path));
    MOXIE_TRY_VOID(check_pack(source, parts.front().header));
  }
  MOXIE_TRY(WeightFiles files, join_parts(path, std::move(parts)));
  if (packed) MOXIE_TRY_VOID(restore_source(files));
  if (files.scheme == NameScheme::gguf) MOXIE_TRY_VOID(refuse_scales(files));
  return files;
}

}  // namespace

extern constinit const WeightFormat gguf = {
    .name = "gguf",
    .summary = "GGUF versions 1 to 3, whole or in parts, experts merged or one tensor each; aligned packs",
    .recognises_file = recognises_file,
    .recognises_folder = recognises_folder,
    .open = open,
};

}  // namespace moxie::formats

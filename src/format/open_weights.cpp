// Which format a path is, and the way into it.
#include <algorithm>
#include <array>

#include "core/byte_reader.h"
#include "core/fail.h"
#include "core/folder.h"
#include "format/messages.h"
#include "format/sniff.h"
#include "format/weight_file.h"

namespace moxie {
namespace formats {
#define MOXIE_ENTRY(name) extern const WeightFormat name;
#include "format/formats.inc"
#undef MOXIE_ENTRY
}  // namespace formats

namespace {

constexpr std::array kFormats = {
#define MOXIE_ENTRY(name) &formats::name,
#include "format/formats.inc"
#undef MOXIE_ENTRY
};

Error folder_error(const std::string& path) {
  auto names = list_files(path);
  if (!names.ok()) return std::move(names).error();
  std::vector<std::string> pickles;
  for (const std::string& name : *names) {
    for (const std::string_view ending : {".bin", ".pth", ".pt", ".npz"}) {
      if (name.ends_with(ending)) pickles.push_back(name);
    }
  }
  for (const std::string& name : *names) {
    if (const auto ending = check_ending(join_path(path, name)); !ending.ok()) return ending.error();
  }
  if (std::find(pickles.begin(), pickles.end(), "weights.npz") != pickles.end()) {
    return fail(Diagnosis{.code = "mlx-npz", .found = "weights.npz", .expected = "*.safetensors"},
                ErrorCode::unsupported,
                "{}: holds a model as old versions of MLX wrote it (weights.npz, a NumPy file), which moxie does not "
                "read; convert the original model again (mlx_lm.convert writes safetensors since 2024), or get the "
                "safetensors revision of the model or a GGUF file",
                path);
  }
  if (!pickles.empty()) {
    return fail(Diagnosis{.code = "pickle", .found = name_some(pickles, 4), .expected = "*.gguf or *.safetensors"},
                ErrorCode::unsupported,
                "{}: holds weights only as PyTorch or NumPy files ({}). moxie does not read these, as loading a pickle "
                "runs code from the "
                "file; get the safetensors revision of the model or a GGUF file",
                path, name_some(pickles, 4));
  }
  return fail(
      Diagnosis{
          .code = "no-weights", .found = fmt::format("{} files", names->size()), .expected = "*.gguf or *.safetensors"},
      ErrorCode::not_found, "{}: holds no weights: neither *.gguf nor *.safetensors is among its {} files; {}", path,
      names->size(), names->empty() ? "is it the right folder?" : "give the folder that does, or finish the download");
}

// The first format that knows the folder; what else lies there is said.
Result<WeightFiles> open_folder(const std::string& path) {
  const WeightFormat* chosen = nullptr;
  std::vector<std::string> others;
  for (const WeightFormat* format : kFormats) {
    if (!format->recognises_folder(path)) continue;
    if (chosen == nullptr) {
      chosen = format;
    } else {
      others.emplace_back(format->name);
    }
  }
  if (chosen == nullptr) return folder_error(path);
  auto files = chosen->open(path);
  if (others.empty()) return files;
  if (!files.ok()) {
    files.error().message +=
        fmt::format("; the folder holds {} too, which opens when one of its files is named", name_some(others));
  } else {
    files->notices.push_back(fmt::format("{} holds {} too; the {} is used; name a file to choose another", path,
                                         name_some(others), chosen->name));
  }
  return files;
}

}  // namespace

Result<WeightFiles> open_weights(const std::string& path) {
  MOXIE_TRY_VOID(check_exists(path));
  if (is_folder(path)) return open_folder(path);
  MOXIE_TRY_VOID(check_ending(path));
  MOXIE_TRY(const FileSource source, FileSource::open(path));
  MOXIE_TRY(const std::string start, read_start(source, kSniffBytes));
  for (const WeightFormat* format : kFormats) {
    if (format->recognises_file(start, source.bytes())) return format->open(path);
  }
  return unknown_file_error(path, start, source.bytes());
}

}  // namespace moxie

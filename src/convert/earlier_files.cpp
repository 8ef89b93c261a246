#include "convert/earlier_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/folder.h"
#include "format/formats/gguf_split.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSideFilesWritten[] = {
    "model.safetensors",       "model.safetensors.index.json", "config.json",        "tokenizer.json",
    "tokenizer.model",         "tokenizer_config.json",        "tekken.json",        "added_tokens.json",
    "special_tokens_map.json", "chat_template.jinja",          "chat_template.json", "generation_config.json",
};

bool is_part_of_safetensors(std::string_view name) {
  constexpr std::string_view kPattern = "model-#####-of-#####.safetensors";
  return std::equal(name.begin(), name.end(), kPattern.begin(), kPattern.end(),
                    [](char c, char wanted) { return wanted == '#' ? c >= '0' && c <= '9' : c == wanted; });
}

template <typename Fits>
std::vector<std::string> files_that_fit(const std::string& folder, const std::vector<std::string>& now,
                                        const Fits& fits) {
  std::vector<std::string> found;
  const auto names = list_files(folder);
  if (!names.ok()) return found;
  for (const std::string& name : *names) {
    const std::string path = join_path(folder, name);
    const bool is_new =
        std::any_of(now.begin(), now.end(), [&](const std::string& one) { return file_name(one) == name; });
    if (!is_new && is_file(path) && fits(name)) found.push_back(path);
  }
  return found;
}

}  // namespace

std::vector<std::string> earlier_gguf_files(const std::string& path, const std::vector<std::string>& now) {
  const std::string name = file_name(path);
  const std::string stem = name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
  return files_that_fit(parent_folder(path), now, [&](const std::string& other) {
    const auto part = parse_gguf_part_name(other);
    return other == name || (part && part->prefix == stem);
  });
}

std::vector<std::string> earlier_safetensors_files(const std::string& folder, const std::vector<std::string>& now) {
  const bool holds_model = !files_that_fit(folder, {}, [](const std::string& name) {
                              return is_part_of_safetensors(name) || name == "model.safetensors";
                            }).empty();
  if (!holds_model) return {};  // side files alone are somebody's own
  return files_that_fit(folder, now, [](const std::string& name) {
    return is_part_of_safetensors(name) ||
           std::find(std::begin(kSideFilesWritten), std::end(kSideFilesWritten), name) != std::end(kSideFilesWritten);
  });
}

void remove_earlier(const std::vector<std::string>& paths, const WeightFiles& source, Log& log) {
  int64_t removed = 0;
  std::string first;
  for (const std::string& path : paths) {
    std::error_code error;
    const bool is_source = std::any_of(source.files.begin(), source.files.end(),
                                       [&](const WeightPart& part) { return fs::equivalent(part.path, path, error); });
    if (is_source || !fs::remove(path, error)) continue;
    if (removed++ == 0) first = path;
  }
  if (removed > 0) {
    log.notice(fmt::format("{}{} of an earlier conversion to the same place {} removed", first,
                           removed > 1 ? fmt::format(" and {} more files", removed - 1) : "",
                           removed > 1 ? "were" : "was"));
  }
}

}  // namespace moxie

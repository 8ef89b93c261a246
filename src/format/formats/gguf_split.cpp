#include "format/formats/gguf_split.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "core/fail.h"
#include "core/folder.h"
#include "format/messages.h"
#include "format/sniff.h"

namespace moxie {
namespace {

constexpr size_t kDigits = 5;
constexpr int64_t kSplitPartsMax = 65535;  // split.count is a u16

std::optional<int64_t> digits(std::string_view text) {
  if (text.size() != kDigits) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

Result<GgufPart> read_part(const std::string& path) {
  MOXIE_TRY_VOID(check_exists(path));
  MOXIE_TRY(const FileSource source, FileSource::open(path));
  MOXIE_TRY(const std::string start, read_start(source, kSniffBytes));
  if (!start.starts_with("GGUF")) return unknown_file_error(path, start, source.bytes());
  GgufPart part{.path = path, .bytes = source.bytes()};
  MOXIE_TRY(part.header, read_gguf_header(source));
  return part;
}

// Collects the parts of the model that `given` is one of.
class PartFinder {
 public:
  explicit PartFinder(GgufPart given)
      : given_path_(given.path),
        folder_(parent_folder(given.path)),
        count_(given.header.split_count()),
        tensors_(given.header.split_tensors()),
        parts_(static_cast<size_t>(count_)) {
    const std::optional<GgufPartName> name = parse_gguf_part_name(file_name(given.path));
    // A name that contradicts the keys was changed by somebody: the keys count.
    if (name && name->count == count_ && name->number == given.header.split_number() + 1) prefix_ = name->prefix;
    parts_[static_cast<size_t>(given.header.split_number())] = std::move(given);
  }

  Result<std::vector<GgufPart>> find() {
    MOXIE_TRY_VOID(find_by_name());
    MOXIE_TRY_VOID(find_by_keys());
    MOXIE_TRY_VOID(check_complete());
    MOXIE_TRY_VOID(check_tensor_count());
    std::vector<GgufPart> all;
    for (std::optional<GgufPart>& part : parts_) all.push_back(std::move(*part));
    return all;
  }

 private:
  std::string expected_name(int64_t number) const {
    return gguf_part_name(prefix_.empty() ? "<name>" : prefix_, number, count_);
  }

  Result<void> find_by_name();
  Result<void> find_by_keys();
  Result<void> check_complete() const;
  Result<void> check_tensor_count() const;

  std::string given_path_, folder_;
  std::string prefix_;  // of the part names; empty where the given file was renamed
  int64_t count_;
  int64_t tensors_;
  std::vector<std::optional<GgufPart>> parts_;
};

Result<void> PartFinder::find_by_name() {
  if (prefix_.empty()) return {};
  for (int64_t i = 0; i < count_; ++i) {
    std::optional<GgufPart>& slot = parts_[static_cast<size_t>(i)];
    const std::string path = join_path(folder_, expected_name(i + 1));
    if (slot || (!is_file(path) && !is_broken_link(path))) continue;
    MOXIE_TRY(GgufPart part, read_part(path));
    const GgufHeader& header = part.header;
    if (header.split_number() != i || header.split_count() != count_ || header.split_tensors() != tensors_) {
      return fail(Diagnosis{.code = "mixed-files",
                            .found = fmt::format("part {} of {}, {} tensors", header.split_number() + 1,
                                                 header.split_count(), header.split_tensors()),
                            .expected = fmt::format("{} parts, {} tensors", count_, tensors_)},
                  ErrorCode::corrupt,
                  "{}: says it is part {} of {} of a model of {} tensors, but {} belongs to {} parts and {} tensors: "
                  "parts of different "
                  "uploads are mixed; download all parts again",
                  path, header.split_number() + 1, header.split_count(), header.split_tensors(), given_path_, count_,
                  tensors_);
    }
    slot = std::move(part);
  }
  return {};
}

// Parts that somebody renamed still say by their keys which they are. Only names that are no regular part name are
// considered when the given file has one: the folder may hold another quantization in as many parts.
Result<void> PartFinder::find_by_keys() {
  if (std::all_of(parts_.begin(), parts_.end(), [](const auto& part) { return part.has_value(); })) return {};
  MOXIE_TRY(const std::vector<std::string> names, list_files(folder_));
  for (const std::string& name : names) {
    const std::string path = join_path(folder_, name);
    if (!name.ends_with(".gguf") || path == given_path_ || name == file_name(given_path_)) continue;
    if (!prefix_.empty() && parse_gguf_part_name(name)) continue;
    auto part = read_part(path);
    if (!part.ok()) continue;  // some other file of the folder; a part that is needed stays missing by name
    const GgufHeader& header = part->header;
    const int64_t number = header.split_number();
    if (header.split_count() != count_ || header.split_tensors() != tensors_ || number < 0 || number >= count_)
      continue;
    std::optional<GgufPart>& slot = parts_[static_cast<size_t>(number)];
    if (slot) {
      return fail(
          Diagnosis{
              .code = "mixed-files", .found = fmt::format("part {} twice", number + 1), .expected = "each part once"},
          ErrorCode::invalid_argument,
          "{} and {}: both say they are part {} of {}; moxie cannot tell which belongs to the model: name them "
          "{} and so on, one "
          "model to a folder",
          slot->path, path, number + 1, count_, gguf_part_name("model", number + 1, count_));
    }
    slot = std::move(*part);
  }
  return {};
}

Result<void> PartFinder::check_complete() const {
  std::vector<std::string> missing;
  for (int64_t i = 0; i < count_; ++i) {
    if (!parts_[static_cast<size_t>(i)]) missing.push_back(expected_name(i + 1));
  }
  if (missing.empty()) return {};
  return fail(Diagnosis{.code = "missing-files",
                        .found = fmt::format("{} of {} parts", static_cast<size_t>(count_) - missing.size(), count_),
                        .expected = name_some(missing)},
              ErrorCode::not_found,
              "{}: is one of {} parts, of which {} are missing in {}: {}; download them into the same folder",
              given_path_, count_, missing.size(), folder_, name_some(missing));
}

Result<void> PartFinder::check_tensor_count() const {
  int64_t found = 0;
  std::vector<std::string> each;
  for (const auto& part : parts_) {
    found += static_cast<int64_t>(part->header.tensors.size());
    each.push_back(fmt::format("{} in {}", part->header.tensors.size(), file_name(part->path)));
  }
  if (tensors_ < 0 || found == tensors_) return {};
  return fail(Diagnosis{.code = "mixed-files",
                        .found = fmt::format("{} tensors", found),
                        .expected = fmt::format("{} tensors", tensors_)},
              ErrorCode::corrupt,
              "{}: its {} parts hold {} tensors together ({}), but split.tensors.count says {}: parts of different "
              "uploads are mixed; "
              "download all parts again",
              given_path_, count_, found, name_some(each), tensors_);
}

// The models of a folder: what makes files one model -> a file of it.
struct FolderModels {
  std::map<std::string, std::string> files;
  std::vector<std::string> side_files;  // that go with a model but are none
};

FolderModels group_by_name(const std::vector<std::string>& names) {
  FolderModels models;
  for (const std::string& name : names) {
    if (!name.ends_with(".gguf")) continue;
    const std::optional<GgufPartName> part = parse_gguf_part_name(name);
    models.files.emplace(part ? fmt::format("{} in {} parts", part->prefix, part->count) : name, name);
  }
  return models;
}

// Names that look like several models: their headers know better. Renamed parts join the parts of the same model.
FolderModels group_by_header(const std::string& folder, const FolderModels& named) {
  FolderModels models;
  std::map<std::pair<int64_t, int64_t>, std::string> families;  // (parts, tensors) -> key in models.files
  std::vector<std::pair<std::string, std::pair<int64_t, int64_t>>> renamed;
  for (const auto& [key, name] : named.files) {
    const auto part = read_part(join_path(folder, name));
    if (!part.ok()) {
      models.files.emplace(key, name);  // opening it will say what is wrong
      continue;
    }
    const GgufHeader& header = part->header;
    const std::pair family{header.split_count(), header.split_tensors()};
    if (!gguf_side_file(header.metadata).empty() || name.starts_with("mtp-")) {
      models.side_files.push_back(name);
    } else if (family.first > 1 && !parse_gguf_part_name(name)) {
      renamed.push_back({name, family});
    } else {
      models.files.emplace(key, name);
      families.emplace(family, key);
    }
  }
  for (const auto& [name, family] : renamed) {
    if (families.emplace(family, name).second) models.files.emplace(name, name);
  }
  return models;
}

}  // namespace

std::optional<GgufPartName> parse_gguf_part_name(std::string_view name) {
  constexpr std::string_view kOf = "-of-", kEnding = ".gguf";
  constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits + kEnding.size();
  if (name.size() < kTail || !name.ends_with(kEnding)) return std::nullopt;
  const std::string_view tail = name.substr(name.size() - kTail);
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf) return std::nullopt;
  const std::optional<int64_t> number = digits(tail.substr(1, kDigits));
  const std::optional<int64_t> count = digits(tail.substr(1 + kDigits + kOf.size(), kDigits));
  if (!number || !count) return std::nullopt;
  return GgufPartName{std::string(name.substr(0, name.size() - kTail)), *number, *count};
}

std::string gguf_part_name(std::string_view prefix, int64_t number, int64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, number, count);
}

Result<std::vector<GgufPart>> read_gguf_parts(const std::string& path) {
  MOXIE_TRY(GgufPart given, read_part(path));
  const int64_t count = given.header.split_count(), number = given.header.split_number();
  std::vector<GgufPart> parts;
  if (count == 0 || count == 1) {
    parts.push_back(std::move(given));
    return parts;
  }
  if (count < 0 || count > kSplitPartsMax || number < 0 || number >= count) {
    return fail(ErrorCode::corrupt,
                "{}: says it is part {} (split.no, from 0) of {} (split.count): the file is damaged; download it again",
                path, number, count);
  }
  // Tools that join parts leave these keys behind now and then.
  if (number == 0 && static_cast<int64_t>(given.header.tensors.size()) == given.header.split_tensors()) {
    given.header.notices.push_back(
        fmt::format("{} says it is the first of {} parts but holds all {} tensors: taken as the whole model", path,
                    count, given.header.split_tensors()));
    parts.push_back(std::move(given));
    return parts;
  }
  return PartFinder(std::move(given)).find();
}

std::string_view gguf_side_file(const Metadata& metadata) {
  const std::string type = metadata.text("general.type").value_or("model");
  const std::string arch = metadata.text("general.architecture").value_or("");
  if (type == "mmproj" || arch == "clip") return "a vision projector";
  if (type == "imatrix" || arch == "imatrix") return "an importance matrix";
  if (type == "adapter" || metadata.has("adapter.type")) return "an adapter (LoRA)";
  return {};
}

Result<std::string> choose_gguf(const std::string& folder) {
  MOXIE_TRY(const std::vector<std::string> names, list_files(folder));
  FolderModels models = group_by_name(names);
  if (models.files.size() > 1) models = group_by_header(folder, models);
  if (models.files.empty()) {
    return fail(
        Diagnosis{.code = "side-file", .found = name_some(models.side_files), .expected = "a model"},
        ErrorCode::unsupported,
        "{}: of .gguf files it holds only {}, which go with a model but are none; give the model's own .gguf file",
        folder, name_some(models.side_files));
  }
  if (models.files.size() > 1) {
    std::vector<std::string> all;
    for (const auto& [key, name] : models.files) all.push_back(name);
    return fail(Diagnosis{.code = "several-models",
                          .found = name_some(all),
                          .expected = "one model",
                          .near_miss = join_path(folder, all.front())},
                ErrorCode::invalid_argument, "{}: holds {} models: {}; give the path of one of them", folder,
                all.size(), name_some(all));
  }
  return join_path(folder, models.files.begin()->second);
}

}  // namespace moxie

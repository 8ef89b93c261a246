#include "model/family.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>

#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/printable.h"

namespace moxie {

#define MOXIE_ENTRY(name) extern const FamilyEntry name;
namespace families {
#include "model/families.inc"
}
#undef MOXIE_ENTRY

namespace {

#define MOXIE_ENTRY(name) &families::name,
constexpr const FamilyEntry* kFamilies[] = {
#include "model/families.inc"
};
#undef MOXIE_ENTRY

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool answers_to(const FamilyEntry& family, const WeightFiles& files, std::string_view arch) {
  return contains(files.scheme == NameScheme::gguf ? family.gguf_archs : family.model_types, arch);
}

std::string known_architectures(NameScheme scheme) {
  std::vector<std::string_view> names;
  for (const FamilyEntry* family : kFamilies) {
    for (const std::string_view name : scheme == NameScheme::gguf ? family->gguf_archs : family->model_types) {
      if (!contains(names, name)) names.push_back(name);
    }
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// "blk.3.ffn_gate.7.weight" gives 7; -1 for other names.
int64_t split_expert_number(const std::string& name) {
  int layer = 0, expert = 0, end = 0;
  if (std::sscanf(name.c_str(), "blk.%d.ffn_down.%d.weight%n", &layer, &expert, &end) == 2 &&
      end == static_cast<int>(name.size())) {
    return expert;
  }
  return -1;
}

}  // namespace

std::span<const FamilyEntry* const> family_entries() {
  return kFamilies;
}

std::string architecture(const WeightFiles& files) {
  return files.metadata.text(files.scheme == NameScheme::gguf ? "general.architecture" : "model_type").value_or("");
}

bool has_rotations_in_halves(const WeightFiles& files) {
  return files.scheme == NameScheme::hugging_face && !files.metadata.boolean("rope_interleaved").value_or(false);
}

int64_t count_experts(const WeightFiles& files) {
  const Metadata& md = files.metadata;
  if (files.scheme == NameScheme::hugging_face) {
    for (const char* key : {"num_local_experts", "num_experts", "n_routed_experts"}) {
      if (const auto count = md.integer(key)) return *count;
    }
    return 0;
  }
  if (const auto count = md.integer(architecture(files) + ".expert_count"); count && *count > 0) return *count;
  int64_t experts = 0;
  for (const TensorInfo& tensor : files.tensors) {
    experts = std::max(experts, split_expert_number(tensor.name) + 1);
    if (tensor.shape.size() == 3 && tensor.name.ends_with("ffn_down_exps.weight"))
      experts = std::max(experts, tensor.shape[0]);
  }
  return experts;
}

Result<const FamilyEntry*> find_family(const WeightFiles& files, std::string_view forced) {
  std::string arch = architecture(files);
  if (arch.empty()) {
    return fail(
        Diagnosis{.code = "no-architecture",
                  .found = "none",
                  .expected = files.scheme == NameScheme::gguf ? "general.architecture" : "model_type in config.json"},
        ErrorCode::corrupt, "{}: names no architecture ({} is missing)", files.path,
        files.scheme == NameScheme::gguf ? "general.architecture" : "model_type in config.json");
  }
  const FamilyEntry* own = nullptr;
  for (const FamilyEntry* family : kFamilies) {
    if (answers_to(*family, files, arch) && family->fits(files)) {
      own = family;
      break;
    }
  }
  if (forced.empty()) {
    if (own != nullptr) return own;
    return fail(
        Diagnosis{
            .code = "unknown-architecture", .found = printable(arch), .expected = known_architectures(files.scheme)},
        ErrorCode::unsupported, "{}: architecture '{}' is not supported; moxie knows {}", files.path, arch,
        known_architectures(files.scheme));
  }
  const auto named = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                  [&](const FamilyEntry* family) { return family->name == forced; });
  const bool exists = named != std::end(kFamilies);
  // The family's own spellings in files and other programs' names for it are as good as ours.
  if (own != nullptr && !exists && (contains(own->gguf_archs, forced) || contains(own->model_types, forced)))
    return own;
  std::vector<std::string_view> names;
  for (const FamilyEntry* family : kFamilies) names.push_back(family->name);
  const std::string unknown =
      exists ? "" : fmt::format("'{}' is no model family; moxie knows {}", printable(forced), fmt::join(names, ", "));
  if (own != nullptr && (!exists || own != *named)) {
    return fail(
        Diagnosis{.code = "wrong-architecture",
                  .found = fmt::format("{} (architecture '{}')", own->name, printable(arch)),
                  .expected = fmt::format("{}, by --arch", printable(forced))},
        ErrorCode::invalid_argument,
        "{}: is a {} model (architecture '{}'), not {}{}; leave the architecture out and moxie chooses {} by itself",
        files.path, own->name, arch, printable(forced), unknown.empty() ? "" : " (" + unknown + ")", own->name);
  }
  if (!exists) {
    return fail(Diagnosis{.code = "unknown-family",
                          .found = printable(forced),
                          .expected = fmt::format("{}", fmt::join(names, ", ")),
                          .near_miss = std::string(nearest_name(forced, names))},
                ErrorCode::invalid_argument, "{}", unknown);
  }
  return *named;
}

}  // namespace moxie

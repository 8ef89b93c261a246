// A model family: which file it fits, its numbers, its tensors' names, its forward pass. One constant per file in
// families/.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "format/weight_file.h"
#include "model/hyperparameters.h"
#include "model/roles.h"
#include "moxie/error.h"

namespace moxie {

class ForwardPass;  // model/forward.h

struct FamilyEntry {
  std::string_view name;  // "mixtral", as --arch takes it
  std::string_view summary;
  std::span<const std::string_view> gguf_archs;   // values of general.architecture
  std::span<const std::string_view> model_types;  // values of config.json's model_type
  bool (*fits)(const WeightFiles& files);         // among families of one architecture: is it this one?
  Result<void> (*adjust)(Hyperparameters& hp, const WeightFiles& files);  // what read_hyperparameters cannot know
  std::span<const RoleRow> roles;
  std::span<const ExpertNames> experts;  // Hugging Face layouts, one tensor per expert; tried in order
  void (*forward)(ForwardPass& pass);
};

std::span<const FamilyEntry* const> family_entries();
// The family of an opened file, or the one forced by name. Errors name the architecture found and those known; a forced
// family that does not fit is refused with the right one.
Result<const FamilyEntry*> find_family(const WeightFiles& files, std::string_view forced = {});
// The GGUF key prefix: general.architecture of the file ("" for Hugging Face).
std::string architecture(const WeightFiles& files);
// E of the file from metadata, or, where the key is missing, from tensor names; 0 for dense.
// Of the models whose rows of queries and keys GGUF permutes: are those of the file as Hugging Face has them? Mistral's
// own layout has them as GGUF.
bool has_rotations_in_halves(const WeightFiles& files);
int64_t count_experts(const WeightFiles& files);

}  // namespace moxie

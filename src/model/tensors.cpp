#include "model/tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/fail.h"

namespace moxie {
namespace {

template <typename Visit>
void for_rows(const FamilyEntry& family, Role role, const Visit& visit) {
  bool found = false;
  for (const RoleRow& row : family.roles) {
    if (row.role != role) continue;
    found = true;
    visit(row);
  }
  if (found) return;
  for (const RoleRow& row : common_roles()) {
    if (row.role == role) visit(row);
  }
}

bool in_layer(const RoleRow& row, const Hyperparameters& hp, int64_t layer) {
  switch (row.layers) {
    case Layers::none:
    case Layers::all:
      return true;
    case Layers::dense:
      return !hp.moe_layer[static_cast<size_t>(layer)];
    case Layers::moe:
      return hp.moe_layer[static_cast<size_t>(layer)];
  }
  return false;
}

// Vectors are written as [n]; one-row matrices as [n] or [1, n].
bool shape_fits(const TensorInfo& tensor, int64_t rows, int64_t columns, bool vector) {
  if (tensor.shape == std::vector<int64_t>{rows, columns}) return true;
  return vector && tensor.shape == std::vector<int64_t>{columns};
}

}  // namespace

Error missing_tensor(const WeightFiles& files, const std::string& name) {
  const std::string nearest = files.nearest(name);
  return fail(Diagnosis{.code = "missing-tensor",
                        .found = fmt::format("{} tensors without it", files.tensors.size()),
                        .expected = name,
                        .near_miss = nearest},
              ErrorCode::corrupt,
              "{}: missing tensor '{}'{}; the file has {} tensors: it is incomplete, or its conversion failed: "
              "download it again or "
              "take another conversion",
              files.path, name, nearest.empty() ? "" : fmt::format(" (nearest: '{}')", nearest), files.tensors.size());
}

Error wrong_shape(const WeightFiles& files, const TensorInfo& tensor, const std::vector<int64_t>& expected) {
  return fail(
      Diagnosis{.code = "wrong-shape",
                .found = fmt::format("{} [{}]", tensor.name, fmt::join(tensor.shape, ", ")),
                .expected = fmt::format("[{}]", fmt::join(expected, ", "))},
      ErrorCode::corrupt,
      "{}: tensor '{}' has shape [{}], but the {} says [{}]; the weights and the description do not belong together",
      files.path, tensor.name, fmt::join(tensor.shape, ", "),
      files.scheme == NameScheme::gguf ? "file's metadata" : "config.json", fmt::join(expected, ", "));
}

Result<void> check_computable(const WeightFiles& files, const TensorInfo& tensor) {
  if (tensor.type != nullptr && tensor.type->computable()) return {};
  return fail(Diagnosis{.code = "type-not-computed",
                        .found = fmt::format("{} of {}", tensor.name, tensor.dtype),
                        .expected = "a type of docs/quantization.md that computes"},
              ErrorCode::unsupported,
              "{}: tensor '{}' has type {}, which moxie recognises but cannot compute; take another quantization of "
              "the same model "
              "(Q4_K_M, IQ4_XS, Q8_0, ...)",
              files.path, tensor.name, tensor.dtype);
}

int64_t size_of(Dim dim, const Hyperparameters& hp) {
  switch (dim) {
    case Dim::one:
      return 1;
    case Dim::vocabulary:
      return hp.vocabulary;
    case Dim::hidden:
      return hp.hidden;
    case Dim::q_width:
      return hp.heads * hp.head_dim;
    case Dim::kv_width:
      return hp.kv_heads * hp.head_dim;
    case Dim::heads:
      return hp.heads;
    case Dim::head_dim:
      return hp.head_dim;
    case Dim::rope_half:
      return hp.rope.dims / 2;
    case Dim::ffn:
      return hp.ffn;
    case Dim::expert_ffn:
      return hp.expert_ffn;
    case Dim::shared_ffn:
      return hp.shared_ffn;
    case Dim::experts:
      return hp.router.experts;
  }
  return 0;
}

std::string role_name(const FamilyEntry& family, NameScheme scheme, Role role, int64_t layer) {
  std::string_view pattern;
  for_rows(family, role, [&](const RoleRow& row) {
    if (pattern.empty()) pattern = scheme == NameScheme::gguf ? row.gguf : row.hugging_face;
  });
  return fmt::format(fmt::runtime(pattern), layer);
}

bool has_exact_name(const FamilyEntry& family, Role role) {
  bool exact = false;
  for_rows(family, role, [&](const RoleRow& row) { exact = exact || row.exact; });
  return exact;
}

bool is_per_layer(const FamilyEntry& family, Role role) {
  bool per_layer = true;  // roles that the family does not have are asked for by layer
  for_rows(family, role, [&](const RoleRow& row) { per_layer = row.layers != Layers::none; });
  return per_layer;
}

bool has_role(const FamilyEntry& family, const Hyperparameters& hp, Role role, int64_t layer) {
  bool has = false;
  for_rows(family, role, [&](const RoleRow& row) { has = has || in_layer(row, hp, layer); });
  return has;
}

Result<RoleTensor> find_role(const WeightFiles& files, const FamilyEntry& family, const Hyperparameters& hp, Role role,
                             int64_t layer) {
  RoleTensor found;
  const RoleRow* used = nullptr;
  std::string first_name;
  for_rows(family, role, [&](const RoleRow& row) {
    const std::string_view pattern = files.scheme == NameScheme::gguf ? row.gguf : row.hugging_face;
    if (pattern.empty() || used != nullptr || !in_layer(row, hp, layer)) return;
    const std::string stem = fmt::format(fmt::runtime(pattern), layer);
    const std::string name = row.exact ? stem : stem + ".weight";
    if (first_name.empty() && row.required) first_name = name;
    found.weight = files.find(name);
    if (found.weight == nullptr) return;
    used = &row;
    if (row.bias) found.bias = files.find(stem + ".bias");
  });
  if (used == nullptr) {
    if (!first_name.empty()) return missing_tensor(files, first_name);
    return found;
  }
  MOXIE_TRY_VOID(check_computable(files, *found.weight));
  const int64_t rows = size_of(used->rows, hp), columns = size_of(used->columns, hp);
  if (!shape_fits(*found.weight, rows, columns, used->rows == Dim::one)) {
    return wrong_shape(files, *found.weight,
                       used->rows == Dim::one ? std::vector{columns} : std::vector{rows, columns});
  }
  if (found.bias != nullptr) {
    MOXIE_TRY_VOID(check_computable(files, *found.bias));
    if (found.bias->shape != std::vector<int64_t>{rows}) return wrong_shape(files, *found.bias, {rows});
  }
  return found;
}

}  // namespace moxie

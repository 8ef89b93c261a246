// Finding a role's tensor in a file, and the errors for what is missing or does not fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/weight_file.h"
#include "model/family.h"
#include "moxie/error.h"

namespace moxie {

Error missing_tensor(const WeightFiles& files, const std::string& name);
Error wrong_shape(const WeightFiles& files, const TensorInfo& tensor, const std::vector<int64_t>& expected);
// Refuses types that are recognised but cannot be computed, and dtypes that stand for no weights.
Result<void> check_computable(const WeightFiles& files, const TensorInfo& tensor);

struct RoleTensor {
  const TensorInfo* weight = nullptr;  // null: the role is optional and absent
  const TensorInfo* bias = nullptr;
};
// The role's tensor in a layer (ignored for roles the model has once): the first of the family's and the common rows
// that the file has, its shape checked. Errors as above.
Result<RoleTensor> find_role(const WeightFiles& files, const FamilyEntry& family, const Hyperparameters& hp, Role role,
                             int64_t layer);
// Does the layer have the role at all, by the family's rows?
bool has_role(const FamilyEntry& family, const Hyperparameters& hp, Role role, int64_t layer);
// What the scheme calls it, without ".weight" (has_exact_name: as it stands): by the first of the family's or the
// common rows. REQUIRES: there is one.
std::string role_name(const FamilyEntry& family, NameScheme scheme, Role role, int64_t layer);
bool has_exact_name(const FamilyEntry& family, Role role);
bool is_per_layer(const FamilyEntry& family, Role role);

int64_t size_of(Dim dim, const Hyperparameters& hp);

}  // namespace moxie

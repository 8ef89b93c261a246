// The tensors of the safetensors that a model becomes, under the names of Hugging Face. Stateless, thread-safe.
#pragma once

#include <vector>

#include "convert/output_tensor.h"
#include "core/log.h"
#include "format/weight_file.h"
#include "model/model.h"
#include "moxie/error.h"

namespace moxie {

// Layer after layer, every expert by itself, the rows of queries and keys with the halves of a rotation apart. `type`:
// of all matrices; null: floats keep theirs, and what is quantized becomes BF16, which is said. Small tensors of F32
// get the type of the matrices where that loses nothing. `plan` and `source` outlive them. Errors: unsupported, io.
Result<std::vector<OutputTensor>> hugging_face_tensors(const WeightFiles& source, const ModelPlan& plan,
                                                       const QuantType* type, Log& log);

}  // namespace moxie

// The tensors of the GGUF file that a model becomes. Stateless, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "convert/output_tensor.h"
#include "core/log.h"
#include "format/weight_file.h"
#include "model/model.h"
#include "moxie/error.h"

namespace moxie {

enum class ExpertForm : uint8_t { merged, one_by_one };

// general.architecture of the file: the source's, or what GGUF calls the family of other sources.
std::string gguf_architecture(const WeightFiles& source, const ModelPlan& plan);

// What divides every frequency under the scaling of Llama 3. REQUIRES: check_hyperparameters().
std::vector<float> llama3_factors(const RopeOptions& rope);

// In the order in which they are written: that of a GGUF source, else layer after layer. Their types are not set.
// What the model does not use is left out and said. `plan` and `source` outlive them. Errors: unsupported, by name.
Result<std::vector<OutputTensor>> gguf_tensors(const WeightFiles& source, const ModelPlan& plan, ExpertForm form,
                                               Log& log);

}  // namespace moxie

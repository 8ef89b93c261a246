// Quantized checkpoints that moxie does not compute yet, told apart by the tensors they hold. Stateless, thread-safe.
#pragma once

#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

// Error unsupported, naming the scheme and what to get instead, where the tensors are those of a quantized checkpoint.
Result<void> refuse_quantized(const WeightFiles& files);

}  // namespace moxie

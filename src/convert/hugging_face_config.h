// config.json and generation_config.json of a model, as transformers reads them. Stateless, thread-safe.
#pragma once

#include <string>

#include "core/log.h"
#include "format/weight_file.h"
#include "model/model.h"
#include "moxie/error.h"

namespace moxie {

// dtype: "bfloat16", what most weights are. A source that came with a config.json keeps it, without what it says of
// quantization. Errors: unsupported for what a config.json has no word for.
Result<std::string> hugging_face_config(const WeightFiles& source, const ModelPlan& plan, std::string_view dtype,
                                        Log& log);

}  // namespace moxie

// What a GGUF file says of its model beside the weights. Stateless, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "convert/gguf_header_builder.h"
#include "core/log.h"
#include "format/weight_file.h"
#include "model/model.h"
#include "moxie/error.h"

namespace moxie {

// A key of a GGUF file, and the type and bytes of its value as a header of version 3 has them.
struct EncodedKey {
  std::string key, value;
};

// The keys of a GGUF source, whatever its version, in its order, without those that belong to the file rather than to
// the model (parts, packs).
Result<std::vector<EncodedKey>> source_gguf_keys(const WeightFiles& source);

// The keys of a model from another container, but for its tokenizer, type and alignment. What GGUF cannot say of the
// model is said to the log.
void add_model_keys(GgufHeaderBuilder& builder, const WeightFiles& source, const ModelPlan& plan, Log& log);

}  // namespace moxie

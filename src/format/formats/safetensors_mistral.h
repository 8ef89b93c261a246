// Mistral's own layout of a checkpoint: consolidated*.safetensors with other tensor names, and params.json in place of
// config.json. Stateless, thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

// Do the tensors have Mistral's names?
bool is_mistral_layout(const WeightFiles& files);
// What a params.json says, as the text of a config.json. `what` names it in errors, which are corrupt for what is no
// such file and unsupported for what it says and moxie does not compute.
Result<std::string> config_from_params(std::string_view params, std::string_view what);
// The files with the names that the Hugging Face layout has. Queries and keys stay as they are, with the halves of a
// rotation side by side: "rope_interleaved" in the configuration says so.
Result<WeightFiles> rename_mistral(WeightFiles files);

}  // namespace moxie

// What the user's word for a model leads to: a path, or something in a store of this machine.
#pragma once

#include <string>

#include "hub/model_store.h"
#include "moxie/error.h"

namespace moxie::cli {

// By this process's environment.
StorePlaces environment_places();

// The path to open for a path or reference ("ollama:mixtral", "hf:org/name:Q4_K_M"); notes what is worth knowing.
// Errors: not_found, with the command that downloads it.
Result<std::string> find_model(const std::string& reference);

// For a model of the hub that is not here: `not_here` says so. Gives the path after it was downloaded, or the error.
Result<std::string> offer_download(const std::string& reference, Error not_here);

}  // namespace moxie::cli

// What the user's word for a model leads to: a path, or something in a store of this machine.
#pragma once

#include <atomic>
#include <string>

#include "hub/model_store.h"
#include "moxie/error.h"

namespace moxie::cli {

// By this process's environment.
StorePlaces environment_places();

struct FindSettings {
  bool download = false;  // what is not here is downloaded without asking; false: the user of a terminal is asked
  std::string token;      // for the hub; empty: the environment's
  const std::atomic<bool>* interrupted = nullptr;
};

// The path to open for a path or reference ("ollama:mixtral", "hf:org/name:Q4_K_M"); notes what is worth knowing.
// Errors: not_found, with the command that downloads it; those of downloading.
Result<std::string> find_model(const std::string& reference, const FindSettings& settings = {});

// For a model of the hub that is not here: `not_here` says so. What to find after it was downloaded, or the error.
Result<std::string> offer_download(const std::string& reference, Error not_here, const FindSettings& settings);

}  // namespace moxie::cli

// The models that `moxie serve` offers: one that was named, those of a folder, or those of this machine's stores.
#pragma once

#include <atomic>
#include <string>

#include "cli/model_options.h"
#include "moxie/error.h"
#include "server/offered_models.h"

namespace moxie::cli {

// `folder` empty: the model that the options name; without one, what the stores hold; where nothing of that will load,
// the demo model. Settles the options where they name a model. The source copies them. `interrupted` gives up the
// opening of the one model, and must outlive the source. Errors: those of find_model; invalid_argument, flags that
// contradict each other; not_found, no such folder.
Result<server::ModelSource> served_models(ModelOptions& options, const std::string& folder,
                                          const std::atomic<bool>& interrupted);

}  // namespace moxie::cli

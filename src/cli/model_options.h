// Flags that choose a model and how it is opened, shared by all commands that compute; and the opening itself.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "cli/flag_set.h"
#include "moxie/engine.h"

namespace moxie::cli {

struct ModelOptions {
  EngineOptions engine;
  std::string positional;  // MODEL without a flag
  std::string cache_type_k, cache_type_v, alias;
  std::string hf_repo, hf_file, hf_token;          // llama.cpp's -hf
  const std::atomic<bool>* interrupted = nullptr;  // gives a download up
  bool verbose = false, watch = false;

  // MODEL, -m, --arch and -v: enough for commands that read headers.
  void add_header_flags(FlagSet& flags);
  // How experts are kept and read, and what may be left out of them.
  void add_expert_flags(FlagSet& flags);
  // Those and all that concern computing.
  void add_flags(FlagSet& flags);
  bool names_a_model() const { return !positional.empty() || !engine.model.empty() || !hf_repo.empty(); }
};

// The model to open: MODEL, else -m, else -hf, else the demo model beside the program or in its install's share folder.
// Errors: not_found with the places looked at; invalid_argument for two different models.
Result<std::string> choose_model(const ModelOptions& options);
// Settles what flags leave open (model, cache type, -a) and says so. Call before using options.engine.
Result<void> settle(ModelOptions& options);

// Opens the engine: progress on a terminal, notices on stderr. `interrupted` becoming true gives up with Error
// cancelled.
Result<std::unique_ptr<Engine>> open_engine(ModelOptions& options, const std::atomic<bool>* interrupted = nullptr);

}  // namespace moxie::cli

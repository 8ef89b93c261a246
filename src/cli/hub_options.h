// Flags and environment of commands that speak to a hub. Not thread-safe.
#pragma once

#include <string>

#include "cli/flag_set.h"
#include "hub/hub_cache.h"

namespace moxie::cli {

// What the environment says: HF_ENDPOINT, HF_TOKEN, HF_HOME and the others of hub_settings().
HubSettings environment_hub();

struct HubOptions {
  std::string token, cache, revision;

  void add_flags(FlagSet& flags);  // --token, --cache-dir, --revision
  HubSettings settings() const;    // the environment's, with what the flags say
};

}  // namespace moxie::cli

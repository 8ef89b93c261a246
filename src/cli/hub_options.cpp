#include "cli/hub_options.h"

#include <cstdlib>

namespace moxie::cli {

HubSettings environment_hub() {
  return hub_settings([](const char* name) -> const char* { return std::getenv(name); });
}

void HubOptions::add_flags(FlagSet& flags) {
  flags.group("hub");
  flags.add("revision", revision);
  flags.add("token", token);
  flags.add("cache-dir", cache);
}

HubSettings HubOptions::settings() const {
  HubSettings settings = environment_hub();
  if (!token.empty()) settings.token = token;
  if (!cache.empty()) settings.cache = cache;
  return settings;
}

}  // namespace moxie::cli

#include "cli/find_model.h"

#include <cstdlib>

#include "cli/console.h"
#include "core/fail.h"
#include "hub/hub_cache.h"

namespace moxie::cli {

StorePlaces environment_places() {
  return store_places([](const char* name) { return std::getenv(name); });
}

Result<std::string> find_model(const std::string& reference, const FindSettings& settings) {
  auto found = locate_model(reference, environment_places());
  if (!found.ok() && found.error().code == ErrorCode::not_found && is_hub_reference(reference)) {
    MOXIE_TRY(const std::string downloaded, offer_download(reference, std::move(found).error(), settings));
    found = locate_model(downloaded, environment_places());
  }
  if (!found.ok()) return std::move(found).error();
  for (const std::string& notice : found->notices) note(notice);
  return found->path;
}

}  // namespace moxie::cli

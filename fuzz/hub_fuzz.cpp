// What a hub's server says, and names that users give: listings, Content-Range, references, patterns, address parts.
#include "core/check.h"
#include "hub/blob_download.h"
#include "hub/http_client.h"
#include "hub/hub_cache.h"
#include "hub/hub_client.h"
#include "hub/pull_choice.h"

using namespace moxie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view first = text.substr(0, text.find('\n'));
  const std::string_view rest = text.substr(std::min(text.size(), first.size() + 1));

  if (const auto listing = parse_hub_listing(text, "org/name", "main"); listing.ok()) {
    for (const HubEntry& entry : listing->files) MOXIE_CHECK(is_safe_repo_path(entry.path));
    for (const HubModel& model : hub_models(*listing)) MOXIE_CHECK(!model.files.empty());
    (void)choose_files(*listing, {});
    (void)choose_files(*listing, {.file = "*Q4_K*", .exclude = {"*.md"}});
  }
  if (const auto range = parse_content_range(first)) {
    MOXIE_CHECK(range->begin < range->end && (!range->whole || range->end <= *range->whole));
  }
  if (const auto reference = parse_hub_reference(first); reference.ok()) {
    MOXIE_CHECK(reference->revision.empty() || is_safe_repo_path(reference->revision));
    MOXIE_CHECK(reference->file.empty() || is_safe_repo_path(reference->file));
    const HubCache cache("cache");
    MOXIE_CHECK(cache.repo_folder(reference->repo).find("..") == std::string::npos);
    const auto again = parse_hub_reference(reference->text());
    MOXIE_CHECK(again.ok() && again->text() == reference->text());
  }
  if (first.size() < 200 && rest.size() < 1000) {
    const bool matches = matches_pattern(rest, first);
    MOXIE_CHECK(!matches || matches_pattern(rest, "*"));
  }
  HttpReply reply{.headers = {{"Retry-After", std::string(first)}}};
  if (const auto seconds = retry_after_seconds(reply)) MOXIE_CHECK(*seconds >= 0);
  MOXIE_CHECK(url_encoded(first).find_first_of(" \"<>#?/") == std::string::npos);
  return 0;
}

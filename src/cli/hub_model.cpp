#include "cli/hub_model.h"

#include "cli/console.h"
#include "cli/hub_options.h"
#include "core/fail.h"
#include "core/folder.h"
#include "hub/pull_choice.h"

namespace moxie::cli {
namespace {

constexpr int kConnections = 8;

// The path to open: a GGUF model's first file, or the folder of its safetensors.
std::string path_to_open(const std::string& folder, const std::vector<HubEntry>& files) {
  return files.front().path.ends_with(".gguf") ? join_path(folder, files.front().path) : folder;
}

// What the cache has of it, where that is a whole model.
std::optional<std::string> cached(const HubSettings& hub, const HubReference& reference) {
  const HubCache cache(hub.cache);
  const auto commit = cache.commit_of(reference.repo, reference.revision_or_main());
  if (!commit) return std::nullopt;
  const std::string folder = cache.snapshot(reference.repo, *commit);
  HubListing listing{.repo = reference.repo, .revision = reference.revision_or_main(), .commit = *commit};
  for (const std::string& path : cache.files(reference.repo, *commit)) {
    if (is_file(join_path(folder, path))) listing.files.push_back({path, {}});
  }
  const auto choice = choose_files(listing, {.file = reference.file});
  if (!choice.ok() || choice->files.empty()) return std::nullopt;
  return path_to_open(folder, choice->files);
}

}  // namespace

Result<void> RemoteModel::open(std::string& model) {
  if (!is_hub_reference(model)) return {};
  MOXIE_TRY(const HubReference reference, parse_hub_reference(model));
  const HubSettings hub = environment_hub();
  if (const auto path = cached(hub, reference)) {
    model = *path;
    return {};
  }
  interruption_ = std::make_unique<Interruption>();
  const HttpRetries retries{.on_wait = [](std::string_view text) { note(text); }};
  HubClient client(hub, retries, &interruption_->flag());
  MOXIE_TRY(const HubListing listing, client.list(reference.repo, reference.revision_or_main()));
  MOXIE_TRY(const PullChoice choice, choose_files(listing, {.file = reference.file}));
  if (choice.files.empty()) return several_models(reference.repo, choice.models);
  MOXIE_TRY(files_, RemoteFiles::open(hub, retries, listing, choice.files, &interruption_->flag()));
  files_->read_ahead(kConnections);
  // A name of its own, which no store takes for one of its references.
  const std::string name = fmt::format("{}/{}", hub.endpoint, reference.repo);
  mount_.emplace(name, files_);
  model = path_to_open(name, choice.files);
  return {};
}

std::optional<std::string> RemoteModel::read_in_words() const {
  if (files_ == nullptr) return std::nullopt;
  uint64_t all = 0;
  for (const FileTree::Entry& entry : files_->entries()) all += entry.bytes;
  return fmt::format("{} of {} were read over the network", human_bytes(files_->bytes_read()), human_bytes(all));
}

}  // namespace moxie::cli

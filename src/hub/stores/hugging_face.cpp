// Hugging Face's cache, shared with Python's huggingface_hub: "hf:org/name@revision:file".
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "core/ascii.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"
#include "hub/folder_models.h"
#include "hub/hub_cache.h"
#include "hub/lock_file.h"
#include "hub/model_store.h"

namespace moxie::stores {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFolderPrefix = "models--";

std::vector<std::string> folders_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code failed, ignored;
  for (fs::directory_iterator entry(folder, failed); !failed && entry != fs::directory_iterator();
       entry.increment(failed)) {
    if (entry->is_directory(ignored)) names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// "models--org--name" gives "org/name"; names with "--" of their own come out as the hub's clients read them.
std::string repository(std::string_view folder) {
  std::string name(folder.substr(kFolderPrefix.size()));
  const size_t dashes = name.find("--");
  if (dashes != std::string::npos) name.replace(dashes, 2, "/");
  return name;
}

bool has_safetensors(const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(".safetensors"); });
}

// What is there of a snapshot that lacks blobs.
std::string problem_of(const std::string& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (is_broken_link(join_path(folder, name))) return fmt::format("{} is a link to a blob that is not there", name);
  }
  return {};
}

std::vector<StoredModel> list(const StorePlaces& places) {
  std::vector<StoredModel> models;
  const HubCache cache(places.hugging_face);
  for (const std::string& folder : folders_in(places.hugging_face)) {
    if (!folder.starts_with(kFolderPrefix)) continue;
    const std::string repo = repository(folder);
    const std::string main = cache.commit_of(repo, "main").value_or("");
    for (const std::string& commit : folders_in(join_path(cache.repo_folder(repo), "snapshots"))) {
      const std::string at = cache.snapshot(repo, commit);
      const std::vector<std::string> names = cache.files(repo, commit);
      const std::string base = commit == main ? "hf:" + repo : fmt::format("hf:{}@{}", repo, commit);
      const auto groups = group_gguf_files(names);
      for (const GgufGroup& group : groups) {
        models.push_back({.store = "hugging face",
                          .reference = groups.size() == 1 ? base : base + ":" + group.name,
                          .path = join_path(at, group.name),
                          .bytes = bytes_of_weights(at, group.files),
                          .problem = problem_of(at, group.files)});
      }
      if (groups.empty() && has_safetensors(names)) {
        models.push_back({.store = "hugging face",
                          .reference = base,
                          .path = at,
                          .bytes = bytes_of_weights(at, names),
                          .problem = problem_of(at, names)});
      }
    }
  }
  return models;
}

Error not_here(const HubReference& wanted, const std::string& cache, const std::string& near) {
  const std::string text = wanted.text();
  return fail(Diagnosis{.code = "not-here", .found = "not in " + cache, .expected = text, .near_miss = near},
              ErrorCode::not_found, "{} is not on this machine (looked in {}){}; download it: moxie pull {}", text,
              cache, near.empty() ? "" : fmt::format("; there is {}", near),
              text.substr(std::string_view("hf:").size()));
}

// The repository here whose name is the wanted one but for upper and lower case, or that ends in it.
std::string near_repository(const HubCache& cache, const std::string& wanted) {
  for (const std::string& folder : folders_in(cache.folder())) {
    if (!folder.starts_with(kFolderPrefix)) continue;
    const std::string repo = repository(folder);
    if (ascii_lower(repo) == ascii_lower(wanted) || ascii_lower(repo).ends_with("/" + ascii_lower(wanted)))
      return "hf:" + repo;
  }
  return {};
}

Result<FoundModel> choose(const HubReference& wanted, const HubCache& cache, const std::string& commit) {
  const std::string at = cache.snapshot(wanted.repo, commit);
  const std::vector<std::string> names = cache.files(wanted.repo, commit);
  std::vector<GgufGroup> groups = group_gguf_files(names);
  if (!wanted.file.empty()) {
    if (std::find(names.begin(), names.end(), wanted.file) != names.end())
      return FoundModel{.path = join_path(at, wanted.file)};
    const std::string all = describe_groups(at, groups);
    groups = matching_groups(groups, wanted.file);
    if (groups.empty()) return not_here(wanted, cache.folder(), all);
  } else if (groups.empty()) {
    if (!has_safetensors(names)) return not_here(wanted, cache.folder(), "");
    return FoundModel{.path = at};
  }
  if (groups.size() > 1) {
    return fail(Diagnosis{.code = "several-models",
                          .found = describe_groups(at, groups),
                          .expected = "one model",
                          .near_miss = fmt::format("hf:{}:{}", wanted.repo, groups.front().name)},
                ErrorCode::invalid_argument, "{} is {} models here: {}; name one, as hf:{}:{}", wanted.text(),
                groups.size(), describe_groups(at, groups), wanted.repo, groups.front().name);
  }
  return FoundModel{.path = join_path(at, groups.front().name)};
}

Result<FoundModel> find(std::string_view rest, const StorePlaces& places) {
  MOXIE_TRY(const HubReference wanted, parse_hub_reference(rest));
  const HubCache cache(places.hugging_face);
  const auto commit = cache.commit_of(wanted.repo, wanted.revision_or_main());
  if (commit && is_folder(cache.snapshot(wanted.repo, *commit))) return choose(wanted, cache, *commit);
  // A cache that was filled by commit, or whose branch was never asked for, has no such name; one snapshot is enough.
  if (wanted.revision.empty()) {
    const auto snapshots = folders_in(join_path(cache.repo_folder(wanted.repo), "snapshots"));
    if (snapshots.size() == 1) {
      MOXIE_TRY(FoundModel found, choose(wanted, cache, snapshots.front()));
      found.notices.push_back(fmt::format("{} is here as commit {} only", wanted.text(), snapshots.front()));
      return found;
    }
  }
  return not_here(wanted, places.hugging_face, near_repository(cache, wanted.repo));
}

// Blobs of a repository that a link outside `gone` leads to.
std::set<std::string> blobs_in_use(const HubCache& cache, const std::string& repo, const std::set<std::string>& gone) {
  std::set<std::string> used;
  for (const std::string& commit : folders_in(join_path(cache.repo_folder(repo), "snapshots"))) {
    for (const std::string& name : cache.files(repo, commit)) {
      const std::string link = join_path(cache.snapshot(repo, commit), name);
      std::error_code failed;
      const fs::path target = fs::weakly_canonical(link, failed);
      if (!failed && !gone.contains(link)) used.insert(target.string());
    }
  }
  return used;
}

// Newer versions of huggingface_hub keep a blob once for all repositories: what is in one is a link to it then.
bool is_shared(const std::string& blob) {
  std::error_code failed;
  return fs::is_symlink(blob, failed);
}

// Does another program hold the lock under which this partial blob grows?
bool is_being_downloaded(const HubCache& cache, const std::string& repo, const std::string& partial) {
  const std::string name = file_name(partial);
  const std::string lock = cache.lock(repo, name.substr(0, name.find('.')));
  if (!is_file(lock)) return false;
  return !LockFile::take(lock, []() -> Result<void> { return fail(ErrorCode::unavailable, "held"); }).ok();
}

void add_refs_of(const HubCache& cache, const std::string& repo, const std::string& commit, Removal& removal) {
  const std::string refs = join_path(cache.repo_folder(repo), "refs");
  std::error_code failed, ignored;
  for (fs::recursive_directory_iterator entry(refs, failed); !failed && entry != fs::recursive_directory_iterator();
       entry.increment(failed)) {
    if (entry->is_directory(ignored)) continue;
    const std::string name = entry->path().lexically_relative(refs).string();
    if (cache.commit_of(repo, name) == commit) removal.paths.push_back(entry->path().string());
  }
}

Result<Removal> plan_removal(std::string_view rest, const StorePlaces& places) {
  MOXIE_TRY(const HubReference wanted, parse_hub_reference(rest));
  const HubCache cache(places.hugging_face);
  const std::string folder = cache.repo_folder(wanted.repo);
  if (!is_folder(folder)) return not_here(wanted, places.hugging_face, near_repository(cache, wanted.repo));
  Removal removal;
  std::set<std::string> gone;
  const auto snapshots = folders_in(join_path(folder, "snapshots"));
  const auto commit = cache.commit_of(wanted.repo, wanted.revision_or_main());
  for (const std::string& snapshot : snapshots) {
    if (!wanted.revision.empty() && snapshot != commit) continue;
    const std::string at = cache.snapshot(wanted.repo, snapshot);
    const std::vector<std::string> names = cache.files(wanted.repo, snapshot);
    std::vector<std::string> chosen = names;
    if (!wanted.file.empty()) {
      chosen.clear();
      if (std::find(names.begin(), names.end(), wanted.file) != names.end()) chosen.push_back(wanted.file);
      if (chosen.empty()) {
        for (const GgufGroup& group : matching_groups(group_gguf_files(names), wanted.file))
          chosen.insert(chosen.end(), group.files.begin(), group.files.end());
      }
    }
    for (const std::string& name : chosen) gone.insert(join_path(at, name));
    if (wanted.file.empty()) {
      add_refs_of(cache, wanted.repo, snapshot, removal);
      removal.paths.push_back(at);
    }
  }
  if (gone.empty() && !wanted.file.empty()) return not_here(wanted, places.hugging_face, "");
  if (!wanted.file.empty()) removal.paths.insert(removal.paths.end(), gone.begin(), gone.end());
  const std::set<std::string> used = blobs_in_use(cache, wanted.repo, gone);
  std::error_code failed;
  const std::string blobs = join_path(folder, "blobs");
  uint64_t kept = 0, shared = 0;
  for (fs::directory_iterator entry(blobs, failed); !failed && entry != fs::directory_iterator();
       entry.increment(failed)) {
    const std::string path = entry->path().string();
    if (used.contains(fs::weakly_canonical(path, failed).string())) {
      kept += bytes_of_file(path);
      continue;
    }
    // What is being downloaded belongs to another program, unless the whole repository goes.
    const bool unfinished = path.ends_with(".incomplete");
    if (unfinished && (!wanted.file.empty() || !wanted.revision.empty())) continue;
    if (unfinished && is_being_downloaded(cache, wanted.repo, path)) {
      return fail(ErrorCode::unavailable, "{} is being downloaded by another program; wait for it, or stop it",
                  wanted.text());
    }
    removal.paths.push_back(path);
    if (is_shared(path)) {
      shared += bytes_of_file(path);
    } else {
      removal.bytes += bytes_of_file(path);
    }
  }
  if (shared > 0) {
    removal.notices.push_back(
        fmt::format("{} stay in {}, which repositories share: `hf cache prune` frees what none uses",
                    human_bytes(shared), join_path(cache.folder(), "blobs")));
  }
  if (kept > 0)
    removal.notices.push_back(
        fmt::format("{} stay: other files or revisions of {} use them", human_bytes(kept), wanted.repo));
  // Nothing of it is left: the folder goes as well.
  if (wanted.file.empty() && wanted.revision.empty()) removal.paths.push_back(folder);
  return removal;
}

Result<Removal> plan_unused(const StorePlaces& places) {
  const HubCache cache(places.hugging_face);
  Removal removal;
  for (const std::string& folder : folders_in(places.hugging_face)) {
    if (!folder.starts_with(kFolderPrefix)) continue;
    const std::string repo = repository(folder);
    const std::set<std::string> used = blobs_in_use(cache, repo, {});
    std::error_code failed;
    const std::string blobs = join_path(cache.repo_folder(repo), "blobs");
    for (fs::directory_iterator entry(blobs, failed); !failed && entry != fs::directory_iterator();
         entry.increment(failed)) {
      const std::string path = entry->path().string();
      std::error_code ignored;
      if (path.ends_with(".incomplete") || used.contains(fs::weakly_canonical(path, ignored).string())) continue;
      removal.paths.push_back(path);
      if (!is_shared(path)) removal.bytes += bytes_of_file(path);
    }
  }
  return removal;
}

}  // namespace

extern constinit const ModelStore hugging_face = {
    .name = "hugging face",
    .prefix = "hf:",
    .summary = "hf:ORG/NAME[@REVISION][:FILE or QUANTIZATION]",
    .list = list,
    .find = find,
    .plan_removal = plan_removal,
    .plan_unused = plan_unused,
};

}  // namespace moxie::stores

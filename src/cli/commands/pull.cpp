#include "hub/pull.h"

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/hub_options.h"
#include "cli/interruption.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/memory_info.h"
#include "hub/pull_choice.h"

namespace moxie::cli::commands {
namespace {

using Json = nlohmann::ordered_json;

std::string size_text(const std::optional<uint64_t>& bytes) {
  return bytes ? human_bytes(*bytes) : "?";
}

class Pull final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags.positional("REPO", repo_, "repository: ORG/NAME, ORG/NAME@REVISION, ORG/NAME:FILE, :QUANT or :GLOB");
    flags.positional("FILES", request_.files, "files of it (paths, quantizations or patterns)");
    hub_.add_flags(flags);
    flags.group("files");
    flags.add("include", request_.include);
    flags.add("exclude", request_.exclude);
    flags.toggle("all-files", request_.everything);
    flags.add("local-dir", settings_.local_dir);
    flags.toggle("force-download", settings_.force);
    flags.toggle("verify", settings_.verify, true, "read what is there, and fetch what is not as the hub says");
    flags.toggle("list", list_);
    flags.toggle("dry-run", dry_run_);
    flags.group("download");
    flags.add("connections", settings_.download.connections);
    flags.add("retries", settings_.download.retries.attempts_max);
    flags.group("output");
    flags.toggle("quiet", quiet_);
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    if (repo_.empty()) {
      return fail(ErrorCode::invalid_argument,
                  "no repository is given: moxie pull ORG/NAME, for example moxie pull "
                  "TheBloke/Mixtral-8x7B-v0.1-GGUF:Q4_K_M");
    }
    if (settings_.download.connections < 1 || settings_.download.connections > kConnectionsMax) {
      return fail(ErrorCode::invalid_argument, "--connections {} is not between 1 and {}",
                  settings_.download.connections, kConnectionsMax);
    }
    if (settings_.download.retries.attempts_max < 1)
      return fail(ErrorCode::invalid_argument, "--retries {} is below 1", settings_.download.retries.attempts_max);
    MOXIE_TRY(const HubReference reference, settle());
    const Interruption interruption;
    settings_.cancelled = &interruption.flag();
    if (settings_.hub.offline) return offline(reference);
    HubClient client(settings_.hub, settings_.download.retries, settings_.cancelled);
    MOXIE_TRY(const HubListing listing, client.list(reference.repo, reference.revision_or_main()));
    if (list_) return print_files(listing);
    MOXIE_TRY(const PullChoice choice, choose_files(listing, request_));
    if (choice.files.empty()) return print_models(listing, choice.models);
    return dry_run_ ? print_plan(choice.files) : pull(listing, choice.files);
  }

 private:
  static constexpr int kConnectionsMax = 64;

  Result<HubReference> settle() {
    MOXIE_TRY(HubReference reference, parse_hub_reference(repo_));
    if (!hub_.revision.empty()) {
      if (!reference.revision.empty() && reference.revision != hub_.revision) {
        return fail(ErrorCode::invalid_argument, "two revisions are given: '{}' and --revision '{}'",
                    reference.revision, hub_.revision);
      }
      if (!is_safe_repo_path(hub_.revision))
        return fail(ErrorCode::invalid_argument, "--revision '{}' is no revision", hub_.revision);
      reference.revision = hub_.revision;
    }
    request_.file = reference.file;
    if (!request_.include.empty()) {
      // huggingface-cli takes several patterns after one --include: those behind the first arrive as files.
      std::erase_if(request_.files, [this](const std::string& name) {
        if (is_pattern(name)) request_.include.push_back(name);
        return is_pattern(name);
      });
    }
    settings_.hub = hub_.settings();
    settings_.download.retries.on_wait = [this](std::string_view text) { say(text); };
    settings_.on_note = [this](std::string_view text) { say(text); };
    if (const char* fast = std::getenv("HF_HUB_ENABLE_HF_TRANSFER"); fast != nullptr && std::string_view(fast) == "1")
      say(fmt::format("HF_HUB_ENABLE_HF_TRANSFER: files come over {} connections at once anyway",
                      settings_.download.connections));
    return reference;
  }

  void say(std::string_view text) {
    const std::lock_guard lock(mutex_);
    progress_.clear();
    if (!quiet_) note(text);
  }

  Result<int> pull(const HubListing& listing, const std::vector<HubEntry>& files) {
    settings_.on_progress = [this](const PullProgress& now) {
      if (quiet_) return;
      const std::lock_guard lock(mutex_);
      progress_.set_doing(now.count == 1
                              ? std::string(now.file)
                              : fmt::format("{} ({} of {})", file_name(std::string(now.file)), now.number, now.count));
      progress_.update(now.done, now.total, now.there_before);
    };
    auto pulled = pull_files(listing, files, settings_);
    progress_.clear();
    if (!pulled.ok()) {
      if (pulled.error().code == ErrorCode::cancelled) note("what has come is kept: the same command goes on with it");
      return std::move(pulled).error();
    }
    uint64_t bytes = 0, there = 0;
    for (const PulledFile& file : pulled->files) {
      bytes += file.bytes;
      if (file.was_there) ++there;
    }
    if (there > 0 && there == pulled->files.size()) {
      say(fmt::format("everything was there: {} file{}, {}", there, there == 1 ? "" : "s", human_bytes(bytes)));
    } else {
      say(fmt::format("{} file{}, {}{}", pulled->files.size(), pulled->files.size() == 1 ? "" : "s", human_bytes(bytes),
                      there > 0 ? fmt::format("; {} were there", there) : ""));
    }
    MOXIE_TRY_VOID(print(json_ ? as_json(listing, *pulled) : result_path(*pulled) + "\n"));
    return 0;
  }

  // What to give to the other commands: the one model file, the first of its parts, or the folder.
  std::string result_path(const Pulled& pulled) const {
    const bool all_gguf = std::all_of(pulled.files.begin(), pulled.files.end(),
                                      [](const PulledFile& file) { return file.path.ends_with(".gguf"); });
    const bool parts = all_gguf && pulled.files.size() > 1 && pulled.files[0].path.find("-of-") != std::string::npos;
    return pulled.files.size() == 1 || (parts && request_.include.empty() && request_.files.size() <= 1)
               ? pulled.files[0].local_path
               : pulled.folder;
  }

  std::string as_json(const HubListing& listing, const Pulled& pulled) const {
    Json object = {{"repo", listing.repo},
                   {"revision", listing.revision},
                   {"commit", listing.commit},
                   {"path", result_path(pulled)},
                   {"folder", pulled.folder}};
    for (const PulledFile& file : pulled.files) {
      object["files"].push_back(
          {{"file", file.path}, {"path", file.local_path}, {"bytes", file.bytes}, {"was_there", file.was_there}});
    }
    return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }

  Result<int> print_files(const HubListing& listing) {
    if (json_) {
      Json object = {{"repo", listing.repo}, {"revision", listing.revision}, {"commit", listing.commit}};
      for (const HubEntry& entry : listing.files)
        object["files"].push_back({{"file", entry.path}, {"bytes", entry.bytes ? Json(*entry.bytes) : Json()}});
      MOXIE_TRY_VOID(print(object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
      return 0;
    }
    Table table({"file", ">bytes"});
    for (const HubEntry& entry : listing.files) table.row({printable(entry.path), size_text(entry.bytes)});
    MOXIE_TRY_VOID(print(table.text()));
    return 0;
  }

  Result<int> print_plan(const std::vector<HubEntry>& files) {
    HubModel all{.files = files};
    Table table({"file", ">bytes"});
    for (const HubEntry& entry : files) table.row({printable(entry.path), size_text(entry.bytes)});
    table.row({fmt::format("{} files", files.size()), size_text(all.bytes())});
    MOXIE_TRY_VOID(print(table.text()));
    return 0;
  }

  // Several models: what there is, and what fits this machine. Nothing is pulled.
  Result<int> print_models(const HubListing& listing, const std::vector<HubModel>& models) {
    const auto room = read_memory_info().room_bytes();
    std::error_code error;
    std::filesystem::path folder = settings_.local_dir.empty() ? settings_.hub.cache : settings_.local_dir;
    while (!std::filesystem::exists(folder, error) && folder.has_parent_path() && folder != folder.parent_path())
      folder = folder.parent_path();
    const auto space = std::filesystem::space(folder, error);
    std::optional<uint64_t> disk;
    if (!error) disk = space.available;
    Json list = Json::array();
    Table table({"name", ">bytes", ">files", "here"});
    for (const HubModel& model : models) {
      const std::string here = fits(model.bytes(), room, disk);
      table.row({printable(model.name), size_text(model.bytes()), fmt::format("{}", model.files.size()), here});
      list.push_back({{"name", model.name},
                      {"bytes", model.bytes() ? Json(*model.bytes()) : Json()},
                      {"files", model.files.size()},
                      {"here", here}});
    }
    if (json_) {
      MOXIE_TRY_VOID(print(
          Json{{"repo", listing.repo}, {"models", list}}.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
    } else {
      MOXIE_TRY_VOID(print(table.text()));
      if (room) note(fmt::format("free here: {} of memory, {} on the drive", human_bytes(*room), size_text(disk)));
    }
    return fail(ErrorCode::invalid_argument, "{} has {} models: name one, for example `moxie pull {}:{}`", listing.repo,
                models.size(), listing.repo, models.front().name);
  }

  static std::string fits(const std::optional<uint64_t>& bytes, const std::optional<uint64_t>& room,
                          const std::optional<uint64_t>& disk) {
    if (!bytes) return "";
    if (disk && *bytes > *disk) return "no space on the drive";
    if (!room) return "";
    // Weights are nearly all that a model needs at a short context; `moxie plan` counts exactly.
    const uint64_t needed = *bytes + *bytes / 20;
    return needed <= *room ? "fits in memory" : "larger than free memory: experts come from the drive (--memory auto)";
  }

  // Without the network: what is in the cache.
  Result<int> offline(const HubReference& reference) {
    const HubCache cache(settings_.hub.cache);
    const auto commit = cache.commit_of(reference.repo, reference.revision_or_main());
    HubListing listing{.repo = reference.repo, .revision = reference.revision_or_main()};
    if (commit) {
      listing.commit = *commit;
      for (const std::string& path : cache.files(reference.repo, *commit)) {
        std::error_code error;
        const uint64_t bytes =
            std::filesystem::file_size(join_path(cache.snapshot(reference.repo, *commit), path), error);
        if (!error) listing.files.push_back({path, bytes});
      }
    }
    if (listing.files.empty()) {
      return fail(ErrorCode::unavailable,
                  "{} at revision {} is not in {}, and HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set; unset it to "
                  "download",
                  reference.repo, reference.revision_or_main(), settings_.hub.cache);
    }
    MOXIE_TRY(const PullChoice choice, choose_files(listing, request_));
    if (choice.files.empty()) return print_models(listing, choice.models);
    Pulled pulled{.folder = cache.snapshot(reference.repo, *commit)};
    for (const HubEntry& entry : choice.files)
      pulled.files.push_back({entry.path, join_path(pulled.folder, entry.path), *entry.bytes, true});
    MOXIE_TRY_VOID(print(json_ ? as_json(listing, pulled) : result_path(pulled) + "\n"));
    return 0;
  }

  std::string repo_;
  HubOptions hub_;
  PullRequest request_;
  PullSettings settings_;
  bool list_ = false, dry_run_ = false, quiet_ = false, json_ = false;
  std::mutex mutex_;
  Progress progress_{"pulling"};
};

}  // namespace

extern const CommandEntry pull = {
    .name = "pull",
    .summary = "download a model from the Hugging Face hub, into the cache that Python's tools share",
    .usage = "REPO[@REVISION][:FILE | :QUANT | :GLOB] [FILES] [--local-dir FOLDER]",
    .detail =
        "Prints the path of what it pulled. A repository with several GGUF models is listed, with what fits this "
        "machine.\n"
        "Of safetensors come the weights and what goes with them. A download that ended early is gone on with. "
        "docs/hub.md says more.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Pull>(); },
};

}  // namespace moxie::cli::commands

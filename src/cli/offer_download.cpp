// What happens with a model of the hub that is not on this machine: where it was asked for by -hf, it is downloaded;
// the user of a terminal is asked; a script gets the error, which names the command.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <mutex>

#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/hub_options.h"
#include "cli/progress.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/terminal.h"
#include "hub/pull.h"
#include "hub/pull_choice.h"

namespace moxie::cli {
namespace {

// What llama.cpp takes of a repository where nothing is said.
constexpr std::string_view kUsualQuant = "Q4_K_M";

// A line of the terminal is there to be read. False: the user wants no answer any more, which Ctrl-C says: its signal
// does not end a read.
bool wait_for_line(const std::atomic<bool>* interrupted) {
  constexpr int kLookMilliseconds = 50;
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  while (interrupted == nullptr || !interrupted->load()) {
    if (poll(&input, 1, kLookMilliseconds) != 0) return true;
  }
  return false;
}

// Errors: cancelled.
Result<bool> asked_and_agreed(const HubReference& reference, const PullChoice& choice, const HubSettings& hub,
                              const std::atomic<bool>* interrupted) {
  const auto bytes = moxie::HubModel{.files = choice.files}.bytes();
  diagnose(fmt::format(
      "{} is not on this machine: download {}{} into {}? [y/N] ", reference.text(),
      choice.files.size() == 1 ? printable(choice.files.front().path) : fmt::format("{} files", choice.files.size()),
      bytes ? ", " + human_bytes(*bytes) + "," : "", hub.cache));
  if (!wait_for_line(interrupted)) {
    diagnose("\n");
    return fail(ErrorCode::cancelled, "nothing was downloaded");
  }
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "Y" || answer == "yes");
}

// Of several models the usual one where nobody can be asked; nothing where there is none such.
Result<PullChoice> choose(const HubListing& listing, HubReference& reference, bool without_asking) {
  MOXIE_TRY(PullChoice choice, choose_files(listing, {.file = reference.file}));
  if (!choice.files.empty()) return choice;
  const auto usual = std::find_if(choice.models.begin(), choice.models.end(),
                                  [](const moxie::HubModel& model) { return model.quant == kUsualQuant; });
  if (without_asking && usual != choice.models.end()) {
    note(fmt::format("{} has {} models: {} is taken", reference.repo, choice.models.size(), usual->name));
    reference.file = usual->name;
    return PullChoice{.files = usual->files, .models = {}};
  }
  return several_models(reference.repo, choice.models);
}

Result<void> download(const HubListing& listing, const PullChoice& choice, const HubSettings& hub,
                      const HttpRetries& retries, const std::atomic<bool>* interrupted) {
  std::mutex mutex;
  Progress progress("pulling");
  const auto say = [&](std::string_view text) {
    const std::lock_guard lock(mutex);
    progress.clear();
    note(text);
  };
  PullSettings settings{.hub = hub, .download = {.retries = retries}};
  settings.download.retries.on_wait = say;
  settings.on_note = say;
  settings.on_progress = [&](const PullProgress& now) {
    const std::lock_guard lock(mutex);
    progress.set_doing(now.count == 1
                           ? std::string(now.file)
                           : fmt::format("{} ({} of {})", file_name(std::string(now.file)), now.number, now.count));
    progress.update(now.done, now.total, now.there_before);
  };
  settings.cancelled = interrupted;
  const auto pulled = pull_files(listing, choice.files, settings);
  progress.clear();
  if (pulled.ok()) return {};
  if (pulled.error().code == ErrorCode::cancelled) note("what has come is kept: the same command goes on with it");
  return pulled.error();
}

}  // namespace

Result<std::string> offer_download(const std::string& text, Error not_here, const FindSettings& settings) {
  HubSettings hub = environment_hub();
  if (!settings.token.empty()) hub.token = settings.token;
  const bool asks = !settings.download;
  if (hub.offline || (asks && !(is_terminal(StandardStream::input) && is_terminal(StandardStream::error))))
    return not_here;
  MOXIE_TRY(HubReference reference, parse_hub_reference(text));
  const HttpRetries retries{.on_wait = [](std::string_view what) { note(what); }};
  HubClient client(hub, retries, settings.interrupted);
  MOXIE_TRY(const HubListing listing, client.list(reference.repo, reference.revision_or_main()));
  MOXIE_TRY(const PullChoice choice, choose(listing, reference, settings.download));
  if (asks) {
    MOXIE_TRY(const bool agreed, asked_and_agreed(reference, choice, hub, settings.interrupted));
    if (!agreed) return not_here;
  }
  MOXIE_TRY_VOID(download(listing, choice, hub, retries, settings.interrupted));
  return reference.text();
}

}  // namespace moxie::cli

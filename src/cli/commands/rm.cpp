#include <iostream>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "core/fail.h"
#include "core/terminal.h"

namespace moxie::cli::commands {
namespace {

class Remove final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags.positional("MODEL", reference_, "as `moxie list` shows it");
    flags.group("removing");
    flags.toggle("unused", unused_);
    flags.toggle("yes", yes_);
    flags.toggle("dry-run", dry_run_, true, "show what would go, and delete nothing");
  }

  Result<int> run() override {
    if (reference_.empty() != unused_) {
      return fail(ErrorCode::invalid_argument, "name one model, as `moxie list` shows them, or say --unused");
    }
    const StorePlaces places = environment_places();
    MOXIE_TRY(const Removal removal, unused_ ? plan_unused(places) : plan_removal(reference_, places));
    if (removal.paths.empty()) {
      note("nothing is unused");
      return 0;
    }
    std::string text;
    for (const std::string& path : removal.paths) text += "  " + path + "\n";
    for (const std::string& notice : removal.notices) text += "  (" + notice + ")\n";
    diagnose(
        fmt::format("{} frees {}:\n{}", unused_ ? "what no model uses" : reference_, human_bytes(removal.bytes), text));
    if (dry_run_) return 0;
    if (!yes_) {
      if (!is_terminal(StandardStream::input))
        return fail(ErrorCode::invalid_argument, "nothing is deleted without being asked; say -y");
      diagnose("delete? [y/N] ");
      std::string answer;
      if (!std::getline(std::cin, answer) || (answer != "y" && answer != "yes")) {
        note("nothing was deleted");
        return 0;
      }
    }
    MOXIE_TRY_VOID(remove_paths(removal));
    note(fmt::format("deleted, {} are free", human_bytes(removal.bytes)));
    return 0;
  }

 private:
  std::string reference_;
  bool unused_ = false, yes_ = false, dry_run_ = false;
};

}  // namespace

extern const CommandEntry rm = {
    .name = "rm",
    .summary = "delete a model from its store, and what nothing else there refers to",
    .usage = "(MODEL | --unused) [-y] [--dry-run]",
    .detail = "Asks first. Blobs that other models or revisions use stay.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Remove>(); },
};

}  // namespace moxie::cli::commands

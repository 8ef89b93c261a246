#include "cli/command.h"
#include "cli/console.h"
#include "core/fail.h"

namespace moxie::cli::commands {
namespace {

class Help final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags.positional("COMMAND", command_, "the command to explain");
    flags.toggle("markdown", markdown_);
  }

  Result<int> run() override {
    if (markdown_) {
      MOXIE_TRY_VOID(print(reference_page()));
      return 0;
    }
    if (command_.empty()) {
      MOXIE_TRY_VOID(print(program_help()));
      return 0;
    }
    const CommandEntry* entry = find_command(command_);
    if (!entry) return fail(ErrorCode::invalid_argument, "unknown command '{}'; `moxie help` lists them", command_);
    MOXIE_TRY_VOID(print(command_help(*entry)));
    return 0;
  }

 private:
  std::string command_;
  bool markdown_ = false;
};

}  // namespace

extern const CommandEntry help = {
    .name = "help",
    .summary = "show the commands, or the flags of one",
    .usage = "[COMMAND]",
    .detail = "",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Help>(); },
};

}  // namespace moxie::cli::commands

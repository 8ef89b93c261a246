#include "cli/version.h"

#include "cli/command.h"
#include "cli/console.h"
#include "core/fail.h"

namespace moxie::cli::commands {
namespace {

class Version final : public Command {
 public:
  void flags(FlagSet&) override {}

  Result<int> run() override {
    MOXIE_TRY_VOID(print(fmt::format("moxie {}\n", moxie::version())));
    return 0;
  }
};

}  // namespace

extern const CommandEntry version = {
    .name = "version",
    .summary = "show the version",
    .usage = "",
    .detail = "",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Version>(); },
};

}  // namespace moxie::cli::commands

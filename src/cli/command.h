// A subcommand: an entry in commands.inc. It parses, calls the library and prints.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "cli/flag_set.h"
#include "moxie/error.h"

namespace moxie::cli {

class Command {
 public:
  virtual ~Command() = default;
  // Binds the command's flags to its members.
  virtual void flags(FlagSet& flags) = 0;
  // An Error becomes a message and its exit code; the value is the exit code otherwise.
  virtual Result<int> run() = 0;
};

struct CommandEntry {
  std::string_view name;
  std::string_view summary;
  std::string_view usage;   // what follows the name: "[MODEL] [-p TEXT | -f FILE]"
  std::string_view detail;  // a paragraph for the help; may be empty
  std::unique_ptr<Command> (*create)();
};

std::span<const CommandEntry* const> command_entries();
const CommandEntry* find_command(std::string_view name);
std::string command_help(const CommandEntry& entry);
std::string program_help();
// docs/cli.md: generated from the entries and the flag table.
std::string reference_page();

}  // namespace moxie::cli

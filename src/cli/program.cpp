#include "cli/program.h"

#include <exception>
#include <filesystem>
#include <new>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/version.h"
#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/terminal.h"

namespace moxie::cli {
namespace {

int report(const Error& error) {
  if (error.code == ErrorCode::cancelled) {
    note("stopped");
  } else {
    diagnose(fmt::format("moxie: error: {}\n", error.message));
  }
  return exit_code(error.code);
}

Result<int> run_command(const CommandEntry& entry, std::span<const std::string> given) {
  const auto command = entry.create();
  FlagSet flags;
  command->flags(flags);
  bool wants_help = false, wants_version = false;
  flags.group("other");
  flags.toggle("help", wants_help);
  flags.toggle("version", wants_version);
  MOXIE_TRY(const RewrittenFlags rewritten, rewrite_flags(
                                                given, [&](std::string_view name) { return flags.is_switch(name); },
                                                [&](std::string_view name) { return flags.has(name); }));
  MOXIE_TRY_VOID(flags.parse(entry.name, rewritten.arguments));
  if (wants_help || wants_version) {
    MOXIE_TRY_VOID(print(wants_help ? command_help(entry) : fmt::format("moxie {}\n", version())));
    return 0;
  }
  for (const std::string& line : rewritten.notes) note(line);
  return command->run();
}

// What the first argument chooses: a command, or none (then `run` takes them all, as llama.cpp's programs do).
Result<int> dispatch(std::span<const std::string> arguments) {
  const auto given = arguments.subspan(1);
  if (given.empty()) {
    // Called by hand: say what there is. In a pipe: complete what comes in.
    if (is_terminal(StandardStream::input)) {
      MOXIE_TRY_VOID(print(program_help()));
      return 0;
    }
    return run_command(*find_command("run"), given);
  }
  if (const CommandEntry* entry = find_command(given[0])) return run_command(*entry, given.subspan(1));
  // As mistral.rs spells it: `plain -m FOLDER -a ARCH`, `gguf -m FILE -a ARCH`. Which of them it is, the file says.
  if ((given[0] == "plain" || given[0] == "gguf") && given.size() > 1 && given[1].starts_with("-"))
    return run_command(*find_command("run"), given.subspan(1));
  if (given[0] == "-h" || given[0] == "--help") {
    MOXIE_TRY_VOID(print(program_help()));
    return 0;
  }
  if (given[0].starts_with("-")) return run_command(*find_command("run"), given);

  // A lone word: a model's path, or a command misspelled.
  std::error_code ignored;
  if (given[0].find_first_of("/.") == std::string::npos && !std::filesystem::exists(given[0], ignored)) {
    std::vector<std::string_view> names;
    for (const CommandEntry* entry : command_entries()) names.push_back(entry->name);
    const std::string_view near = nearest_name(given[0], names);
    return fail(ErrorCode::invalid_argument, "unknown command '{}'; {}", given[0],
                near.empty() ? "`moxie help` lists them" : fmt::format("did you mean `moxie {}`?", near));
  }
  return run_command(*find_command("run"), given);
}

}  // namespace

int run_program(std::span<const std::string> arguments) {
  try {
    const Result<int> result = dispatch(arguments);
    return result.ok() ? *result : report(result.error());
  } catch (const std::bad_alloc&) {
    return report({ErrorCode::out_of_memory, "not enough memory"});
  } catch (const std::exception& exception) {
    return report({ErrorCode::internal, exception.what()});
  }
}

}  // namespace moxie::cli

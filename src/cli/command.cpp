#include "cli/command.h"

#include <algorithm>

#include "core/fail.h"
#include "sample/sampler.h"

namespace moxie::cli {

namespace commands {
#define MOXIE_ENTRY(entry) extern const CommandEntry entry;
#include "cli/commands.inc"
#undef MOXIE_ENTRY
}  // namespace commands

namespace {

constexpr const CommandEntry* kEntries[] = {
#define MOXIE_ENTRY(entry) &commands::entry,
#include "cli/commands.inc"
#undef MOXIE_ENTRY
};

std::string usage_line(const CommandEntry& entry) {
  return fmt::format("moxie {}{}{}", entry.name, entry.usage.empty() ? "" : " ", entry.usage);
}

// Notes and errors about flags point to one page; a long line of flags without effect says more than a table.
std::string flags_by_effect(FlagEffect effect) {
  std::string out;
  for (const FlagSpec& flag : flag_specs()) {
    if (flag.effect != effect) continue;
    std::string spelled;
    std::string_view rest = flag.spellings;
    while (!rest.empty()) {
      const std::string_view one = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(one.size() + 1, rest.size()));
      spelled += fmt::format("`{}` ", one);
    }
    out += fmt::format("| {}`--{}` | {} |\n", spelled, flag.name, flag.why);
  }
  return out;
}

std::string samplers_section() {
  std::string out =
      "\n## Samplers\n\n"
      "Logits become a token in this order: logit bias (`--logit-bias`, `--ignore-eos`), the samplers of `--samplers`, "
      "the draw.\n"
      "By default the samplers are those of llama.cpp: penalties, dry, top_k, typ_p, top_p, min_p, xtc, temperature. "
      "With\n"
      "`--top-nsigma` 0 or above they are top_k, temperature, top_n_sigma (unless top_n_sigma stands in `--samplers`), "
      "with\n"
      "`--mirostat` temperature and Mirostat. `--temp 0` takes the best token that is left; among equals the lowest "
      "id.\n\n"
      "The draw is seeded for each request (`--seed`) with MT19937 and does not depend on the platform; a random seed "
      "is shown by\n"
      "`--stats json`.\n\n"
      "| name | letter | what it does |\n|---|---|---|\n";
  for (const SamplerEntry* entry : sampler_entries()) {
    out += fmt::format("| {}{}{} | {} | {} |\n", entry->name, entry->alias.empty() ? "" : ", ", entry->alias,
                       entry->letter == 0 ? std::string() : std::string(1, entry->letter), entry->summary);
  }
  return out;
}

}  // namespace

std::span<const CommandEntry* const> command_entries() {
  return kEntries;
}

const CommandEntry* find_command(std::string_view name) {
  const auto found = std::find_if(std::begin(kEntries), std::end(kEntries),
                                  [&](const CommandEntry* entry) { return entry->name == name; });
  return found == std::end(kEntries) ? nullptr : *found;
}

std::string command_help(const CommandEntry& entry) {
  FlagSet flags;
  const auto command = entry.create();
  command->flags(flags);
  std::string out = fmt::format("{}\n  {}\n", usage_line(entry), entry.summary);
  if (!entry.detail.empty()) out += fmt::format("\n{}\n", entry.detail);
  const std::string listed = flags.help();
  return listed.empty() ? out : out + "\n" + listed;
}

std::string program_help() {
  std::string out =
      "moxie runs mixture-of-experts language models on ordinary machines.\n\nusage: moxie COMMAND [...]\n\n";
  for (const CommandEntry* entry : kEntries) out += fmt::format("  {:<12} {}\n", entry->name, entry->summary);
  out +=
      "\n`moxie COMMAND --help` lists the flags of a command. Without a command, flags are those of `run`:\n"
      "  moxie -m model.gguf -p \"Once upon a time\" -n 100\n"
      "Without a model, the demo model is used. Exit status: 0 done, 1 internal error, 2 wrong arguments, 3 not "
      "found,\n"
      "4 corrupt file, 5 not supported, 6 input or output, 7 out of memory, 8 unavailable, 130 interrupted.\n";
  return out;
}

std::string reference_page() {
  std::string out =
      "# The program\n\n"
      "This page is what `moxie help --markdown` prints.\n\n"
      "Text for the user goes to stdout, everything else to stderr. llama.cpp's names of flags work, with dashes or "
      "underscores\n"
      "(`--repeat_penalty`) and with one dash where they have one (`-ngl`). Without a command, flags are those of "
      "`run`, so that\n"
      "command lines for llama.cpp's `main` and `llama-cli` run unchanged, also through links of these names.\n\n"
      "MODEL is a `.gguf` (any shard of a split file), a folder or index of safetensors, or one `.safetensors`; "
      "without one the demo\n"
      "model is used, found in `../models/demo` or `../share/moxie/models/demo` beside the program.\n\n"
      "| exit status | meaning |\n|---|---|\n"
      "| 0 | done |\n| 1 | internal error |\n| 2 | wrong arguments |\n| 3 | not found |\n| 4 | corrupt file |\n| 5 | "
      "not supported |\n"
      "| 6 | input or output failed |\n| 7 | out of memory |\n| 8 | unavailable |\n| 130 | interrupted |\n";
  for (const CommandEntry* entry : kEntries) {
    out += fmt::format("\n## moxie {}\n\n```\n{}```\n", entry->name, command_help(*entry));
  }
  out += samplers_section();
  out += fmt::format(
      "\n## Flags without effect\n\nAccepted, so that known command lines run; each says on stderr why nothing "
      "happens.\n\n"
      "| flag | why |\n|---|---|\n{}",
      flags_by_effect(FlagEffect::none));
  out += fmt::format(
      "\n## Flags that are refused\n\nKnown, but they would change the answer in a way that is not there: exit status "
      "5.\n\n"
      "| flag | what to do |\n|---|---|\n{}",
      flags_by_effect(FlagEffect::refused));
  return out;
}

}  // namespace moxie::cli

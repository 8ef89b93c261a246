// The program's flags: one table of names, spellings and help, and the pass over the command line that runs before the
// parser.
//
// llama.cpp's spellings work: multi-letter flags with one dash (-ngl, -ctk), underscores for dashes (--repeat_penalty).
// The pass rewrites them all into long names, since no parser library takes them. Plain functions, thread-safe.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"

namespace moxie::cli {

enum class FlagEffect {
  used,     // some command reads it
  none,     // accepted so that known command lines run; `why` says once why nothing happens
  refused,  // would change the answer but is not there; `why` says what to do
};

struct FlagSpec {
  std::string_view name;       // "ctx-size"
  std::string_view spellings;  // others, with their dashes, separated by blanks: "-c --n-ctx"
  std::string_view value;      // what help calls its value: "N"; empty: a switch; "[on|off]": may be left out
  std::string_view help;
  FlagEffect effect = FlagEffect::used;
  std::string_view why;  // of a used one: why it has no effect in commands that do not take it; empty: they refuse it
};

std::span<const FlagSpec> flag_specs();
// By any spelling, dashes included ("-c", "--ctx_size"); null when there is no such flag.
const FlagSpec* find_flag(std::string_view spelled);

struct RewrittenFlags {
  std::vector<std::string> arguments;  // "--name" and its value as two elements; positional ones as they are
  std::vector<std::string> notes;      // one line for each flag without effect
};

// `is_switch` says of flags with a value whether they have none in this command, `is_taken` whether it takes a flag at
// all; without it, it does. Errors: invalid_argument for an
// unknown flag (names the nearest) and a missing value; unsupported for a refused flag.
Result<RewrittenFlags> rewrite_flags(std::span<const std::string> arguments,
                                     const std::function<bool(std::string_view name)>& is_switch = {},
                                     const std::function<bool(std::string_view name)>& is_taken = {});

}  // namespace moxie::cli

// Taking turns with the user on a terminal or through a pipe: line in, answer out. Not thread-safe.
#pragma once

#include <optional>
#include <string>

#include "cli/session.h"

namespace moxie::cli {

struct DialogueOptions {
  GenerateOptions generate;
  std::string in_prefix, in_suffix;
  bool in_prefix_bos = false;
  bool multiline = false;
  bool user_first = false;  // before any answer
  bool single_turn = false;
};

// The user's next text: a line, or with `multiline` lines until one ends with "\". A line's trailing "\" joins the next
// one to it. Nothing at the end of input.
std::optional<std::string> read_user_text(Session& session, bool multiline);

// Completes the prompt, then takes text from the user whenever the answer has ended or come to a stop text. The user's
// text goes into the context as it is, between in_prefix and in_suffix. Returns the exit status.
Result<int> run_interactive(Session& session, std::span<const int32_t> prompt, const DialogueOptions& options);

}  // namespace moxie::cli

// Flags of conversations, shared by `chat` and `run --conversation`.
#pragma once

#include <string>

#include "cli/chat_session.h"
#include "cli/flag_set.h"

namespace moxie::cli {

struct ChatFlags {
  ChatOptions options;
  std::string system, chat_template, template_file, variables;

  void add_flags(FlagSet& flags);
  // Reads the files that flags name. Errors: two templates; a file that cannot be read; variables that are no object.
  Result<void> settle();
  bool any() const { return !system.empty() || !chat_template.empty() || !template_file.empty() || !variables.empty(); }
};

}  // namespace moxie::cli

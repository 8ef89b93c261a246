// Flags of generation: prompt, length, stops and samplers, shared by the commands that generate.
#pragma once

#include <string>
#include <vector>

#include "cli/flag_set.h"
#include "moxie/engine.h"

namespace moxie::cli {

struct PromptOptions {
  std::string text;
  std::string file;
  std::string binary_file;
  std::string ids;
  bool escape = true;
  bool escape_files = false;
  bool given = false;           // a -p, even an empty one
  bool stdin_is_prompt = true;  // false: it is the user's side of a dialogue

  void add_flags(FlagSet& flags, bool with_ids = true);
  // The text with escapes resolved as asked.
  std::string unescaped(const std::string& text_given) const { return escape_text(text_given, escape); }
  // -p, -f or -bf; without them standard input, unless that is a terminal (then empty). Errors: two sources; io.
  Result<std::string> read() const;
  // Is there a prompt among the flags?
  bool any() const { return given || !file.empty() || !binary_file.empty() || !ids.empty(); }

 private:
  static std::string escape_text(const std::string& text, bool resolve);
};

struct GenerateFlags {
  GenerateOptions options;
  std::vector<std::string> stops, reverse_prompts;

  void add_flags(FlagSet& flags);
};

void add_sampling_flags(FlagSet& flags, SamplingOptions& sampling);

// The token ids of a prompt: --ids as they are, or text as the tokenizer says. Errors: an empty result.
Result<std::vector<int32_t>> prompt_ids(const Engine& engine, const PromptOptions& prompt, bool add_special,
                                        bool parse_special);

}  // namespace moxie::cli

#include "cli/generate_options.h"

#include <limits>

#include "cli/console.h"
#include "core/fail.h"
#include "core/terminal.h"
#include "sample/sampler.h"

namespace moxie::cli {
namespace {

constexpr uint64_t kRandomSeed = 0xFFFFFFFFu;

std::vector<std::string> split(std::string_view text, std::string_view separators) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of(separators, at), text.size());
    if (end > at) parts.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

// "15043+1", "15043-0.5", "15043-inf".
Result<std::pair<int32_t, float>> parse_bias(const std::string& text) {
  const size_t sign = text.find_first_of("+-", 1);
  if (sign == std::string::npos) {
    return fail(ErrorCode::invalid_argument, "'{}' is no token id followed by + or - and a number (15043+1)", text);
  }
  MOXIE_TRY(const int64_t id, parse_integer(text.substr(0, sign)));
  MOXIE_TRY(const float bias, parse_float(text.substr(sign)));
  if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
    return fail(ErrorCode::invalid_argument, "{} is no token id", id);
  }
  return std::pair{static_cast<int32_t>(id), bias};
}

void drop_last_newline(std::string& text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
}

}  // namespace

std::string PromptOptions::escape_text(const std::string& text, bool resolve) {
  return resolve ? resolve_escapes(text) : text;
}

void PromptOptions::add_flags(FlagSet& flags, bool with_ids) {
  flags.group("prompt");
  flags.on("prompt", [this](const std::string& value) -> Result<void> {
    text = value;
    given = true;
    return {};
  });
  flags.add("file", file);
  flags.add("binary-file", binary_file);
  if (with_ids) flags.add("ids", ids);
  flags.on("escape", [this](const std::string&) -> Result<void> {
    escape = escape_files = true;
    return {};
  });
  flags.on("no-escape", [this](const std::string&) -> Result<void> {
    escape = escape_files = false;
    return {};
  });
}

Result<std::string> PromptOptions::read() const {
  const int sources = (given ? 1 : 0) + (file.empty() ? 0 : 1) + (binary_file.empty() ? 0 : 1) + (ids.empty() ? 0 : 1);
  if (sources > 1)
    return fail(ErrorCode::invalid_argument, "-p, -f, -bf and --ids each give the prompt; take one of them");
  if (given) return escape_text(text, escape);
  if (!ids.empty()) return std::string();
  if (!binary_file.empty()) return read_text(binary_file);
  if (file.empty() && (!stdin_is_prompt || is_terminal(StandardStream::input))) return std::string();
  MOXIE_TRY(std::string read, read_text(file.empty() ? "-" : file));
  drop_last_newline(read);
  return escape_text(read, escape_files);
}

Result<std::vector<int32_t>> prompt_ids(const Engine& engine, const PromptOptions& prompt, bool add_special,
                                        bool parse_special) {
  MOXIE_TRY(const std::string text, prompt.read());
  std::vector<int32_t> ids;
  if (!prompt.ids.empty()) {
    auto numbers = parse_integers(prompt.ids);
    if (!numbers.ok()) return fail(ErrorCode::invalid_argument, "--ids: {}", numbers.error().message);
    for (const int64_t id : *numbers) {
      if (id < 0 || id > std::numeric_limits<int32_t>::max())
        return fail(ErrorCode::invalid_argument, "--ids: {} is no token id", id);
      ids.push_back(static_cast<int32_t>(id));
    }
  } else {
    MOXIE_TRY(ids, engine.tokenize(text, add_special, parse_special));
  }
  if (ids.empty()) {
    return fail(ErrorCode::invalid_argument, "the prompt is empty, and {}; give one with -p, -f or on standard input",
                add_special && engine.adds_bos() ? "--ids names no token" : "no start-of-text token is added");
  }
  return ids;
}

void GenerateFlags::add_flags(FlagSet& flags) {
  flags.group("generation");
  flags.on(
      "predict",
      [this](const std::string& value) -> Result<void> {
        MOXIE_TRY(const int64_t count, parse_integer(value));
        // llama.cpp's -2 ("fill the context") is what -1 does without a context shift.
        if (count < -2)
          return fail(ErrorCode::invalid_argument, "{} is no number of tokens; -1 is until the end", count);
        options.max_tokens = count == -2 ? -1 : count;
        return {};
      },
      "-1");
  flags.add("stop", stops);
  flags.add("reverse-prompt", reverse_prompts);
  flags.toggle("context-shift", options.context_shift);
  flags.toggle("no-context-shift", options.context_shift, false);
  flags.add("keep", options.keep);
  flags.toggle("ignore-eos", options.sampling.ignore_eos);
  flags.toggle("special", options.special);
}

void add_sampling_flags(FlagSet& flags, SamplingOptions& sampling) {
  flags.group("sampling");
  flags.on(
      "seed",
      [&](const std::string& value) -> Result<void> {
        MOXIE_TRY(const int64_t seed, parse_integer(value));
        sampling.seed = seed < 0 ? kRandomSeed : static_cast<uint64_t>(seed);
        return {};
      },
      "-1");
  std::string listed;
  for (const std::string& name : sampling.samplers) listed += (listed.empty() ? "" : ";") + name;
  flags.on(
      "samplers",
      [&](const std::string& value) -> Result<void> {
        sampling.samplers = split(value, ";,");
        return {};
      },
      listed);
  flags.on(
      "sampling-seq",
      [&](const std::string& value) -> Result<void> {
        MOXIE_TRY(sampling.samplers, samplers_from_letters(value));
        return {};
      },
      "edkypmxt");
  flags.add("temp", sampling.temp);
  flags.add("dynatemp-range", sampling.dynatemp_range);
  flags.add("dynatemp-exp", sampling.dynatemp_exponent);
  flags.add("top-k", sampling.top_k);
  flags.add("top-p", sampling.top_p);
  flags.add("min-p", sampling.min_p);
  flags.add("typical", sampling.typical);
  flags.add("top-nsigma", sampling.top_nsigma);
  flags.add("xtc-probability", sampling.xtc_probability);
  flags.add("xtc-threshold", sampling.xtc_threshold);
  flags.add("min-keep", sampling.min_keep);
  flags.add("repeat-last-n", sampling.repeat_last_n);
  flags.add("repeat-penalty", sampling.repeat_penalty);
  flags.add("presence-penalty", sampling.presence_penalty);
  flags.add("frequency-penalty", sampling.frequency_penalty);
  flags.add("dry-multiplier", sampling.dry_multiplier);
  flags.add("dry-base", sampling.dry_base);
  flags.add("dry-allowed-length", sampling.dry_allowed_length);
  flags.add("dry-penalty-last-n", sampling.dry_penalty_last_n);
  flags.on(
      "dry-sequence-breaker",
      [&, first = true](const std::string& value) mutable -> Result<void> {
        if (first) sampling.dry_sequence_breakers.clear();  // the first one replaces the defaults
        first = false;
        if (value != "none") sampling.dry_sequence_breakers.push_back(resolve_escapes(value));
        return {};
      },
      "newline, colon, quote, asterisk");
  flags.add("mirostat", sampling.mirostat);
  flags.add("mirostat-lr", sampling.mirostat_lr);
  flags.add("mirostat-ent", sampling.mirostat_ent);
  flags.on("logit-bias", [&](const std::string& value) -> Result<void> {
    MOXIE_TRY(const auto bias, parse_bias(value));
    sampling.logit_bias.push_back(bias);
    return {};
  });
  const auto from_file = [&flags](std::string_view name, std::string& target) {
    flags.on(name, [&target](const std::string& path) -> Result<void> {
      MOXIE_TRY(target, read_text(path));
      return {};
    });
  };
  flags.add("grammar", sampling.grammar);
  from_file("grammar-file", sampling.grammar);
  flags.add("json-schema", sampling.json_schema);
  from_file("json-schema-file", sampling.json_schema);
  flags.add("regex", sampling.regex);
}

}  // namespace moxie::cli

#include "cli/flags.h"

#include <algorithm>
#include <unordered_map>

#include "core/edit_distance.h"
#include "core/fail.h"

namespace moxie::cli {
namespace {

constexpr FlagSpec kFlags[] = {
#define MOXIE_FLAG(name, spellings, value, help) {name, spellings, value, help, FlagEffect::used, ""},
#define MOXIE_SERVER_FLAG(name, spellings, value, help, why) {name, spellings, value, help, FlagEffect::used, why},
#define MOXIE_NO_EFFECT(name, spellings, value, why) {name, spellings, value, "", FlagEffect::none, why},
#define MOXIE_REFUSED(name, spellings, value, why) {name, spellings, value, "", FlagEffect::refused, why},
#include "cli/flags.inc"
#undef MOXIE_FLAG
#undef MOXIE_SERVER_FLAG
#undef MOXIE_NO_EFFECT
#undef MOXIE_REFUSED
};

std::string with_dashes(std::string_view long_flag) {
  std::string text(long_flag);
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

using Index = std::unordered_map<std::string, const FlagSpec*>;

const Index& index() {
  static const Index all = [] {
    Index found;
    for (const FlagSpec& flag : kFlags) {
      found.emplace("--" + std::string(flag.name), &flag);
      std::string_view rest = flag.spellings;
      while (!rest.empty()) {
        const size_t end = std::min(rest.find(' '), rest.size());
        found.emplace(rest.substr(0, end), &flag);
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
    }
    return found;
  }();
  return all;
}

bool is_switch_word(std::string_view text) {
  constexpr std::string_view kWords[] = {"on", "off", "auto", "0", "1", "true", "false", "enabled", "disabled"};
  return std::find(std::begin(kWords), std::end(kWords), text) != std::end(kWords);
}

Error unknown_flag(std::string_view spelled) {
  std::vector<std::string_view> names;
  for (const auto& [name, flag] : index()) names.push_back(name);
  std::sort(names.begin(), names.end());
  // Letters in the wrong order are the commonest slip, and further apart by edits than a different word may be.
  const auto swapped = std::find_if(names.begin(), names.end(), [&](std::string_view name) {
    return name.size() == spelled.size() && std::is_permutation(name.begin(), name.end(), spelled.begin());
  });
  const std::string_view near = swapped != names.end() ? *swapped : nearest_name(spelled, names);
  if (near.empty())
    return fail(ErrorCode::invalid_argument, "unknown flag {}; `moxie help` lists commands and flags", spelled);
  return fail(ErrorCode::invalid_argument, "unknown flag {}; did you mean {}?", spelled, near);
}

}  // namespace

std::span<const FlagSpec> flag_specs() {
  return kFlags;
}

const FlagSpec* find_flag(std::string_view spelled) {
  const auto found = index().find(spelled.starts_with("--") ? with_dashes(spelled) : std::string(spelled));
  return found == index().end() ? nullptr : found->second;
}

Result<RewrittenFlags> rewrite_flags(std::span<const std::string> arguments,
                                     const std::function<bool(std::string_view name)>& is_switch,
                                     const std::function<bool(std::string_view name)>& is_taken) {
  RewrittenFlags result;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {  // everything after it is positional
      result.arguments.insert(result.arguments.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i),
                              arguments.end());
      break;
    }
    if (argument.size() < 2 || argument[0] != '-') {
      result.arguments.push_back(argument);
      continue;
    }
    const size_t equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
    const std::string spelled = argument.substr(0, equals);
    const FlagSpec* flag = find_flag(spelled);
    if (!flag) return unknown_flag(spelled);
    if (flag->effect == FlagEffect::refused) return fail(ErrorCode::unsupported, "{}: {}", spelled, flag->why);

    const bool optional_value = flag->value.starts_with('[');
    const bool takes_value = !flag->value.empty() && !(is_switch && is_switch(flag->name));
    std::string value;
    if (equals != std::string::npos) {
      if (!takes_value)
        return fail(ErrorCode::invalid_argument, "{} takes no value, but '{}' is given", spelled,
                    argument.substr(equals + 1));
      value = argument.substr(equals + 1);
    } else if (optional_value) {
      value = i + 1 < arguments.size() && is_switch_word(arguments[i + 1]) ? arguments[++i] : "on";
    } else if (takes_value) {
      if (i + 1 >= arguments.size())
        return fail(ErrorCode::invalid_argument, "{} needs a value ({})", spelled, flag->value);
      value = arguments[++i];
    }
    const bool of_others = flag->effect == FlagEffect::used && !flag->why.empty() && is_taken && !is_taken(flag->name);
    if (flag->effect == FlagEffect::none || of_others) {
      std::string note = fmt::format("{} has no effect: {}", spelled, flag->why);
      if (std::find(result.notes.begin(), result.notes.end(), note) == result.notes.end()) result.notes.push_back(note);
      continue;
    }
    result.arguments.push_back("--" + std::string(flag->name));
    if (takes_value) result.arguments.push_back(value);
  }
  return result;
}

}  // namespace moxie::cli

#include "cli/flag_set.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <optional>

#include "core/check.h"
#include "core/fail.h"

namespace moxie::cli {
namespace {

// All spellings, the short ones first: "-c, --ctx-size, --n-ctx N".
std::string all_spellings(const FlagSpec& spec, bool is_switch) {
  std::string shorts, longs = "--" + std::string(spec.name);
  std::string_view rest = spec.spellings;
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    if (one.starts_with("--")) {
      longs += fmt::format(", {}", one);
    } else {
      shorts += fmt::format("{}, ", one);
    }
  }
  return shorts + longs + (spec.value.empty() || is_switch ? "" : fmt::format(" {}", spec.value));
}

// Text as one wraps it for a column that starts at `indent`.
std::string wrapped(std::string_view text, size_t indent, size_t width) {
  std::string out;
  size_t column = 0;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (column > 0 && column + 1 + word.size() > width - indent) {
      out += fmt::format("\n{:{}}", "", indent);
      column = 0;
    }
    if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

template <typename T>
Result<T> parse_number(std::string_view text, std::string_view kind) {
  T value{};
  std::string_view digits = text;
  if (digits.size() > 1 && digits[0] == '+') digits.remove_prefix(1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range) return fail(ErrorCode::invalid_argument, "'{}' is out of range", text);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return fail(ErrorCode::invalid_argument, "'{}' is no {}", text, kind);
  }
  return value;
}

}  // namespace

Result<int64_t> parse_integer(std::string_view text) {
  return parse_number<int64_t>(text, "whole number");
}
Result<float> parse_float(std::string_view text) {
  return parse_number<float>(text, "number");
}

Result<std::vector<int64_t>> parse_integers(std::string_view text) {
  std::vector<int64_t> values;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find_first_of(", \n\t[]", at), text.size());
    if (end > at) {
      MOXIE_TRY(const int64_t value, parse_integer(text.substr(at, end - at)));
      values.push_back(value);
    }
    at = end + 1;
  }
  return values;
}

void FlagSet::put(std::string_view name, std::string fallback, std::string_view help, Setter set) {
  const FlagSpec* spec = find_flag("--" + std::string(name));
  MOXIE_CHECK(spec && spec->effect == FlagEffect::used && !has(name));
  flags_.push_back({spec, group_, std::move(fallback), std::string(help.empty() ? spec->help : help), std::move(set)});
}

const FlagSet::Flag* FlagSet::find(std::string_view name) const {
  const auto found =
      std::find_if(flags_.begin(), flags_.end(), [&](const Flag& flag) { return flag.spec->name == name; });
  return found == flags_.end() ? nullptr : &*found;
}

bool FlagSet::is_switch(std::string_view name) const {
  const Flag* flag = find(name);
  return flag && flag->is_switch;
}

void FlagSet::add(std::string_view name, std::string& target, std::string_view help) {
  put(name, target, help, [&target](const std::string& value) -> Result<void> {
    target = value;
    return {};
  });
}

void FlagSet::add(std::string_view name, int& target, std::string_view help) {
  put(name, fmt::format("{}", target), help, [&target](const std::string& value) -> Result<void> {
    MOXIE_TRY(target, parse_number<int>(value, "whole number"));
    return {};
  });
}

void FlagSet::add(std::string_view name, int64_t& target, std::string_view help) {
  put(name, fmt::format("{}", target), help, [&target](const std::string& value) -> Result<void> {
    MOXIE_TRY(target, parse_integer(value));
    return {};
  });
}

void FlagSet::add(std::string_view name, float& target, std::string_view help) {
  put(name, fmt::format("{}", target), help, [&target](const std::string& value) -> Result<void> {
    MOXIE_TRY(target, parse_float(value));
    return {};
  });
}

void FlagSet::add(std::string_view name, std::vector<std::string>& target, std::string_view help) {
  put(name, {}, help, [&target](const std::string& value) -> Result<void> {
    target.push_back(value);
    return {};
  });
}

void FlagSet::add(std::string_view name, std::vector<int64_t>& target, std::string_view help) {
  put(name, fmt::format("{}", fmt::join(target, ",")), help, [&target](const std::string& value) -> Result<void> {
    MOXIE_TRY(target, parse_integers(value));
    return {};
  });
}

void FlagSet::toggle(std::string_view name, bool& target, bool value, std::string_view help) {
  put(name, {}, help, [&target, value](const std::string&) -> Result<void> {
    target = value;
    return {};
  });
  flags_.back().is_switch = true;
}

void FlagSet::on(std::string_view name, Setter set, std::string_view fallback, std::string_view help) {
  put(name, std::string(fallback), help, std::move(set));
}

void FlagSet::positional(std::string_view name, std::string& target, std::string_view help) {
  positionals_.push_back({std::string(name), std::string(help), &target, nullptr});
}

void FlagSet::positional(std::string_view name, std::vector<std::string>& target, std::string_view help) {
  positionals_.push_back({std::string(name), std::string(help), nullptr, &target});
}

Result<void> FlagSet::parse(std::string_view command, std::span<const std::string> arguments) {
  std::optional<Error> first_error;
  const auto apply = [&](const Flag& flag, const std::string& value) {
    if (first_error) return;
    if (const auto result = flag.set(value); !result.ok()) {
      first_error = Error{result.error().code, fmt::format("--{}: {}", flag.spec->name, result.error().message)};
    }
  };

  // Checked here, since the parser would take a flag of another command for a positional argument.
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    if (arguments[i].size() < 2 || arguments[i][0] != '-') continue;
    const FlagSpec* spec = find_flag(arguments[i]);
    MOXIE_CHECK(spec);
    const Flag* flag = find(spec->name);
    if (!flag) {
      return fail(ErrorCode::invalid_argument, "`moxie {}` takes no {}; see `moxie {} --help`", command, arguments[i],
                  command);
    }
    if (std::find(given_.begin(), given_.end(), spec->name) == given_.end()) given_.push_back(spec->name);
    if (!spec->value.empty() && !flag->is_switch) ++i;
  }

  CLI::App app;
  app.set_help_flag();
  for (const Flag& flag : flags_) {
    const std::string name = "--" + std::string(flag.spec->name);
    if (flag.spec->value.empty() || flag.is_switch) {
      app.add_flag_function(name, [&](int64_t) { apply(flag, "on"); })->trigger_on_parse();
    } else {
      // trigger_on_parse: one call for every occurrence, in the order of the command line.
      app.add_option_function<std::string>(name, [&](const std::string& value) { apply(flag, value); })
          ->trigger_on_parse();
    }
  }
  for (const Positional& positional : positionals_) {
    if (positional.targets) {
      app.add_option_function<std::vector<std::string>>(
          positional.name, [&](const std::vector<std::string>& values) { *positional.targets = values; });
    } else {
      app.add_option_function<std::string>(positional.name, [&](const std::string& value) {
        *positional.target = value;
        // A variable of the shell that is not set; silence would take what is meant where nothing is said.
        if (value.empty() && !first_error)
          first_error = fail(ErrorCode::invalid_argument, "{} is empty; give one, or leave it out", positional.name);
      });
    }
  }
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as the parser wants them
    app.parse(reversed);
  } catch (const CLI::ExtrasError& error) {
    return fail(ErrorCode::invalid_argument, "`moxie {}` was given too many arguments: {}", command, error.what());
  } catch (const CLI::Error& error) {
    return fail(ErrorCode::invalid_argument, "{}", error.what());
  }
  if (first_error) return *first_error;
  return {};
}

std::string FlagSet::help() const {
  constexpr size_t kColumn = 26, kWidth = 110;
  std::string out;
  const auto line = [&](const std::string& left, const std::string& right) {
    out += fmt::format("  {}", left);
    if (left.size() + 4 > kColumn) {
      out += fmt::format("\n{:{}}", "", kColumn);
    } else {
      out += std::string(kColumn - 2 - left.size(), ' ');
    }
    out += wrapped(right, kColumn, kWidth) + "\n";
  };
  for (const Positional& positional : positionals_) {
    line(positional.name + (positional.targets ? "..." : ""), positional.help);
  }
  std::string_view group;
  for (const Flag& flag : flags_) {
    if (flag.group != group) out += fmt::format("\n{}:\n", flag.group);
    group = flag.group;
    line(all_spellings(*flag.spec, flag.is_switch),
         flag.help + (flag.fallback.empty() ? "" : fmt::format(" (default {})", flag.fallback)));
  }
  return out;
}

}  // namespace moxie::cli

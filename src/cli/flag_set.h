// The flags one command takes, each bound to the variable it sets; gives parsing and help. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/flags.h"
#include "moxie/error.h"

namespace moxie::cli {

class FlagSet {
 public:
  using Setter = std::function<Result<void>(const std::string& value)>;

  // Heads the flags added from here on in the help.
  void group(std::string_view title) { group_ = title; }

  // The variable's present value is shown as the default. `help` replaces the table's, where a command means something
  // of its own. REQUIRES: the name is in the flag table and has effect.
  void add(std::string_view name, std::string& target, std::string_view help = {});
  void add(std::string_view name, int& target, std::string_view help = {});
  void add(std::string_view name, int64_t& target, std::string_view help = {});
  void add(std::string_view name, float& target, std::string_view help = {});
  void add(std::string_view name, std::vector<std::string>& target, std::string_view help = {});  // may be repeated
  void add(std::string_view name, std::vector<int64_t>& target,
           std::string_view help = {});  // "1,2,3"; the last one counts
  // A switch: sets the variable to `value`. It takes no value here, even where other commands give it one.
  void toggle(std::string_view name, bool& target, bool value = true, std::string_view help = {});
  void on(std::string_view name, Setter set, std::string_view fallback = {}, std::string_view help = {});
  // An argument without a flag, in the order of the calls.
  void positional(std::string_view name, std::string& target, std::string_view help);
  // All that follow. REQUIRES: the last positional that is added.
  void positional(std::string_view name, std::vector<std::string>& target, std::string_view help);

  // Sets the variables in the order of the command line, so that the last one counts. `command` is for messages.
  // REQUIRES: arguments come from rewrite_flags().
  Result<void> parse(std::string_view command, std::span<const std::string> arguments);
  // The names of the flags that the command line had, each once, in its order. For after parse().
  const std::vector<std::string_view>& given() const { return given_; }
  std::string help() const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // Was it added by toggle(), whatever the table says of a value?
  bool is_switch(std::string_view name) const;

 private:
  struct Flag {
    const FlagSpec* spec;
    std::string group;
    std::string fallback;  // as help shows it
    std::string help;
    Setter set;
    bool is_switch = false;
  };
  const Flag* find(std::string_view name) const;
  struct Positional {
    std::string name;
    std::string help;
    std::string* target;
    std::vector<std::string>* targets;  // the one or the other
  };
  void put(std::string_view name, std::string fallback, std::string_view help, Setter set);

  std::string group_ = "flags";
  std::vector<Flag> flags_;
  std::vector<Positional> positionals_;
  std::vector<std::string_view> given_;
};

// "1,2,3" (also separated by blanks). Error: something that is no whole number.
Result<std::vector<int64_t>> parse_integers(std::string_view text);
Result<int64_t> parse_integer(std::string_view text);
Result<float> parse_float(std::string_view text);

}  // namespace moxie::cli

#include "cli/flags.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace moxie::cli {
namespace {

std::vector<std::string> spellings_of(const FlagSpec& flag) {
  std::vector<std::string> all = {"--" + std::string(flag.name)};
  std::string current;
  for (const char c : std::string(flag.spellings) + " ") {
    if (c != ' ') {
      current += c;
    } else if (!current.empty()) {
      all.push_back(current);
      current.clear();
    }
  }
  return all;
}

TEST(FlagTable, EverySpellingLeadsToItsFlag) {
  std::set<std::string> seen;
  for (const FlagSpec& flag : flag_specs()) {
    EXPECT_EQ(flag.name.find('_'), std::string_view::npos) << flag.name;
    EXPECT_FALSE(flag.name.starts_with("-")) << flag.name;
    EXPECT_FALSE((flag.effect == FlagEffect::used ? flag.help : flag.why).empty()) << flag.name;
    for (const std::string& spelled : spellings_of(flag)) {
      EXPECT_TRUE(seen.insert(spelled).second) << spelled << " stands twice";
      EXPECT_EQ(find_flag(spelled), &flag) << spelled;
      std::vector<std::string> given = {spelled};
      if (!flag.value.empty()) given.push_back("on");
      const auto rewritten = rewrite_flags(given);
      if (flag.effect == FlagEffect::refused) {
        ASSERT_FALSE(rewritten.ok()) << spelled;
        EXPECT_EQ(rewritten.error().code, ErrorCode::unsupported);
        EXPECT_NE(rewritten.error().message.find(flag.why), std::string::npos);
        continue;
      }
      ASSERT_TRUE(rewritten.ok()) << rewritten.error().message;
      if (flag.effect == FlagEffect::none) {
        EXPECT_TRUE(rewritten->arguments.empty()) << spelled;
        ASSERT_EQ(rewritten->notes.size(), 1u);
        EXPECT_EQ(rewritten->notes[0].find('\n'), std::string::npos);
        EXPECT_TRUE(rewritten->notes[0].starts_with(spelled + " has no effect: "));
        continue;
      }
      std::vector<std::string> expected = {"--" + std::string(flag.name)};
      if (!flag.value.empty()) expected.emplace_back("on");
      EXPECT_EQ(rewritten->arguments, expected);
      if (!spelled.starts_with("--")) continue;
      std::string underscored = spelled;
      std::replace(underscored.begin() + 2, underscored.end(), '-', '_');
      given[0] = underscored;
      EXPECT_EQ(rewrite_flags(given)->arguments, expected) << underscored;
    }
  }
}

TEST(FlagTable, TakesTheCommandLineOfModelCards) {
  const std::vector<std::string> given = {"-ngl", "35",   "-m",     "F.gguf", "--color",
                                          "-c",   "2048", "--temp", "0.7",    "--repeat_penalty",
                                          "1.1",  "-n",   "-1",     "-p",     "[INST] -x [/INST]"};
  const auto rewritten = rewrite_flags(given);
  ASSERT_TRUE(rewritten.ok());
  const std::vector<std::string> expected = {
      "--model", "F.gguf",           "--color", "on",        "--ctx-size", "2048",     "--temp",
      "0.7",     "--repeat-penalty", "1.1",     "--predict", "-1",         "--prompt", "[INST] -x [/INST]"};
  EXPECT_EQ(rewritten->arguments, expected);
  EXPECT_EQ(rewritten->notes.size(), 1u);
}

TEST(FlagTable, LeavesValuesAndPositionalArgumentsAlone) {
  const auto rewritten =
      rewrite_flags(std::vector<std::string>{"my_model", "-p", "--not_a-flag", "--stop=a=b_c", "--prompt=", "-fa", "-",
                                             "--color", "off", "--", "-m", "--x_y"});
  ASSERT_TRUE(rewritten.ok());
  const std::vector<std::string> expected = {"my_model", "--prompt", "--not_a-flag", "--stop", "a=b_c", "--prompt", "",
                                             "-",        "--color",  "off",          "--",     "-m",    "--x_y"};
  EXPECT_EQ(rewritten->arguments, expected);
  EXPECT_EQ(rewrite_flags(std::vector<std::string>{"-ngl", "1", "-ngl", "2"})->notes.size(), 1u);
}

TEST(FlagTable, NamesTheNearestFlag) {
  const auto message = [](std::vector<std::string> given) { return rewrite_flags(given).error().message; };
  EXPECT_EQ(message({"--repeat-penality", "1"}), "unknown flag --repeat-penality; did you mean --repeat-penalty?");
  EXPECT_EQ(message({"--tmep", "1"}), "unknown flag --tmep; did you mean --temp?");
  EXPECT_EQ(message({"-ngll", "1"}), "unknown flag -ngll; did you mean -ngl?");
  EXPECT_EQ(message({"--quantum-tunnelling"}),
            "unknown flag --quantum-tunnelling; `moxie help` lists commands and flags");
  EXPECT_EQ(message({"-p"}), "-p needs a value (TEXT)");
  EXPECT_EQ(message({"--json=yes"}), "--json takes no value, but 'yes' is given");
}

}  // namespace
}  // namespace moxie::cli

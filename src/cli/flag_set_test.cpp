#include "cli/flag_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "cli/command.h"
#include "support/paths.h"

namespace moxie::cli {
namespace {

struct Bound {
  std::string text;
  int number = 7;
  int64_t large = -1;
  float real = 0.5f;
  std::vector<std::string> texts;
  std::vector<int64_t> list = {1, 2};
  bool on = false;
  std::string positional;
  FlagSet flags;

  Bound() {
    flags.positional("MODEL", positional, "a model");
    flags.add("prompt", text);
    flags.add("top-k", number);
    flags.add("keep", large);
    flags.add("temp", real);
    flags.add("stop", texts);
    flags.add("n-gen", list);
    flags.toggle("mmap", on);
    flags.toggle("no-mmap", on, false);
    flags.toggle("ids", on);  // takes a value elsewhere
  }

  Result<void> parse(std::vector<std::string> given) {
    const auto rewritten = rewrite_flags(given, [&](std::string_view name) { return flags.is_switch(name); });
    if (!rewritten.ok()) return rewritten.error();
    return flags.parse("test", rewritten->arguments);
  }
  std::string message(std::vector<std::string> given) {
    const auto result = parse(std::move(given));
    return result.ok() ? "accepted" : result.error().message;
  }
};

TEST(FlagSet, SetsWhatIsBound) {
  Bound bound;
  const auto result =
      bound.parse({"model.gguf", "-p", "[INST] a, b [/INST]", "--top_k=3", "--keep", "-1", "--temp", "1e-2", "--stop",
                   "[x]", "--stop", "", "--stop", "-y", "--n-gen", "4,5,6", "--mmap"});
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(bound.positional, "model.gguf");
  EXPECT_EQ(bound.text, "[INST] a, b [/INST]");
  EXPECT_EQ(bound.number, 3);
  EXPECT_EQ(bound.large, -1);
  EXPECT_FLOAT_EQ(bound.real, 0.01f);
  EXPECT_EQ(bound.texts, (std::vector<std::string>{"[x]", "", "-y"}));
  EXPECT_EQ(bound.list, (std::vector<int64_t>{4, 5, 6}));
  EXPECT_TRUE(bound.on);
}

TEST(FlagSet, TheLastOneCounts) {
  Bound bound;
  ASSERT_TRUE(bound.parse({"-p", "a", "--no-mmap", "--ids", "-p", "b\nc", "--top-k", "1", "--top-k", "2"}).ok());
  EXPECT_EQ(bound.text, "b\nc");
  EXPECT_EQ(bound.number, 2);
  EXPECT_TRUE(bound.on);
  ASSERT_TRUE(bound.parse({"--mmap", "--no-mmap", "-p", ""}).ok());
  EXPECT_FALSE(bound.on);
  EXPECT_EQ(bound.text, "");
}

TEST(FlagSet, TakesDashesInPositionalArgumentsAfterTheMark) {
  Bound bound;
  ASSERT_TRUE(bound.parse({"--temp", "1", "--", "-m_odel"}).ok());
  EXPECT_EQ(bound.positional, "-m_odel");
}

TEST(FlagSet, NamesWhatIsWrong) {
  Bound bound;
  EXPECT_EQ(bound.message({"--top-k", "many"}), "--top-k: 'many' is no whole number");
  EXPECT_EQ(bound.message({"--top-k", "3.5"}), "--top-k: '3.5' is no whole number");
  EXPECT_EQ(bound.message({"--top-k", "99999999999"}), "--top-k: '99999999999' is out of range");
  EXPECT_EQ(bound.message({"--temp", "hot"}), "--temp: 'hot' is no number");
  EXPECT_EQ(bound.message({"--n-gen", "1,x"}), "--n-gen: 'x' is no whole number");
  EXPECT_EQ(bound.message({"--min-p", "0"}), "`moxie test` takes no --min-p; see `moxie test --help`");
  EXPECT_EQ(bound.message({"--ids=3"}), "--ids takes no value, but '3' is given");
  EXPECT_TRUE(bound.message({"a", "b"}).starts_with("`moxie test` was given too many arguments"))
      << bound.message({"a", "b"});
}

TEST(FlagSet, ShowsSpellingsAndDefaults) {
  const std::string help = Bound().flags.help();
  EXPECT_NE(help.find("--top-k N               keep the N likeliest tokens; 0: all (default 7)\n"), std::string::npos)
      << help;
  EXPECT_NE(help.find("  -p, --prompt TEXT"), std::string::npos);
  EXPECT_NE(help.find("  --ids "), std::string::npos);
  EXPECT_EQ(help.find("--ids LIST"), std::string::npos);
}

// Every flag that has effect belongs to some command; every command can be explained.
TEST(Commands, TakeEveryFlagOfTheTable) {
  std::vector<std::unique_ptr<Command>> commands;
  std::vector<FlagSet> sets(command_entries().size());
  for (size_t i = 0; i < sets.size(); ++i) {
    const CommandEntry& entry = *command_entries()[i];
    EXPECT_EQ(find_command(entry.name), &entry);
    EXPECT_FALSE(entry.summary.empty()) << entry.name;
    commands.push_back(entry.create());
    commands.back()->flags(sets[i]);
    EXPECT_NE(command_help(entry).find(entry.summary), std::string::npos);
    EXPECT_NE(program_help().find(entry.name), std::string::npos);
  }
  for (const FlagSpec& flag : flag_specs()) {
    if (flag.effect != FlagEffect::used || flag.name == "help" || flag.name == "version") continue;
    EXPECT_TRUE(std::any_of(sets.begin(), sets.end(), [&](const FlagSet& set) { return set.has(flag.name); }))
        << "--" << flag.name << " is taken by no command";
  }
}

TEST(Commands, ReferencePageIsCurrent) {
  std::ifstream in(source_dir() + "/docs/cli.md");
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(page == reference_page())
      << "docs/cli.md is not what the program says; run: moxie help --markdown > docs/cli.md";
}

TEST(FlagSet, ListsOfPositionalArgumentsTakeAllThatFollow) {
  FlagSet flags;
  std::string first;
  std::vector<std::string> rest;
  int64_t keep = 0;
  flags.positional("MODEL", first, "a model");
  flags.positional("FILE", rest, "files");
  flags.add("keep", keep);
  const auto parsed = flags.parse("test", std::vector<std::string>{"a", "b", "--keep", "3", "c", "d"});
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(first, "a");
  EXPECT_EQ(rest, (std::vector<std::string>{"b", "c", "d"}));
  EXPECT_EQ(keep, 3);
  EXPECT_NE(flags.help().find("FILE..."), std::string::npos);
}

}  // namespace
}  // namespace moxie::cli

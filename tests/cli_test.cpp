// Runs the text files of tests/cli: commands with what they must print. tests/cli/README.md explains the form.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>

#include "support/paths.h"

namespace {

namespace fs = std::filesystem;

struct Case {
  int line = 0;
  std::string command;
  int status = 0;
  std::vector<std::string> out, error;
  bool checks_error = false;
};

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// '*' stands for anything.
bool matches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// A pattern "..." stands for any number of lines.
bool matches(std::span<const std::string> patterns, std::span<const std::string> lines) {
  if (patterns.empty()) return lines.empty();
  if (patterns[0] == "...") {
    for (size_t skip = 0; skip <= lines.size(); ++skip) {
      if (matches(patterns.subspan(1), lines.subspan(skip))) return true;
    }
    return false;
  }
  return !lines.empty() && matches(std::string_view(patterns[0]), lines[0]) &&
         matches(patterns.subspan(1), lines.subspan(1));
}

std::vector<Case> read_cases(const fs::path& path) {
  std::vector<Case> cases;
  int number = 0;
  for (const std::string& line : lines_of(contents(path))) {
    ++number;
    const std::string rest = line.size() > 2 ? line.substr(2) : "";
    if (line.starts_with("$ ")) {
      cases.push_back({.line = number, .command = rest});
    } else if (line.starts_with("> ") && !cases.empty()) {
      cases.back().command += "\n" + rest;
    } else if (line.starts_with("= ") && !cases.empty()) {
      cases.back().status = std::atoi(rest.c_str());
    } else if ((line == "|" || line.starts_with("| ")) && !cases.empty()) {
      cases.back().out.push_back(rest);
    } else if ((line == "!" || line.starts_with("! ")) && !cases.empty()) {
      cases.back().error.push_back(rest);
      cases.back().checks_error = true;
    } else if (!line.empty() && line[0] != '#') {
      ADD_FAILURE() << path << ":" << number << ": neither $ > | ! = nor #: " << line;
    }
  }
  return cases;
}

std::string joined(std::span<const std::string> lines) {
  std::string text;
  for (const std::string& line : lines) text += "    " + line + "\n";
  return text;
}

bool has_terminals() {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  const bool has =
      terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0 && access(ptsname(terminal), R_OK | W_OK) == 0;
  close(terminal);
  return has;
}

class CliFile : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "moxie-cli-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    fs::create_directories(folder_ / "bin");
    fs::create_directories(folder_ / "work");
    for (const char* name : {"moxie", "main", "llama-cli"})
      fs::create_symlink(moxie::moxie_program(), folder_ / "bin" / name);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void check(const Case& test, const std::string& where) {
    const fs::path script = folder_ / "script", out = folder_ / "out", error = folder_ / "error";
    std::ofstream(script) << "cd '" << (folder_ / "work").string() << "'\nexport PATH='" << (folder_ / "bin").string()
                          << "':\"$PATH\"\n"
                          << "export DATA='" << moxie::source_dir() << "/tests/data'\nexport XDG_CACHE_HOME='"
                          << (folder_ / "cache").string() << "'\nexport MODEL=\"$DATA/models/stories260k-moe8\"\n"
                          << test.command << "\n";
    const std::string line =
        "bash '" + script.string() + "' </dev/null >'" + out.string() + "' 2>'" + error.string() + "'";
    const int status = std::system(line.c_str());
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const auto out_lines = lines_of(contents(out)), error_lines = lines_of(contents(error));
    EXPECT_EQ(code, test.status) << where << "\n  $ " << test.command << "\n"
                                 << joined(out_lines) << joined(error_lines);
    EXPECT_TRUE(matches(test.out, out_lines)) << where << "\n  $ " << test.command << "\n  expected on stdout:\n"
                                              << joined(test.out) << "  found:\n"
                                              << joined(out_lines) << joined(error_lines);
    if (!test.checks_error) return;
    EXPECT_TRUE(matches(test.error, error_lines)) << where << "\n  $ " << test.command << "\n  expected on stderr:\n"
                                                  << joined(test.error) << "  found:\n"
                                                  << joined(error_lines);
  }

  fs::path folder_;
};

TEST_P(CliFile, Runs) {
  if (GetParam() == "terminal" && !has_terminals()) GTEST_SKIP() << "no pseudo-terminals here: is /dev/pts mounted?";
  const fs::path path = fs::path(moxie::source_dir()) / "tests/cli" / (GetParam() + ".txt");
  const std::vector<Case> cases = read_cases(path);
  ASSERT_FALSE(cases.empty());
  for (const Case& test : cases) check(test, path.filename().string() + ":" + std::to_string(test.line));
}

std::vector<std::string> files() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(moxie::source_dir()) / "tests/cli")) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Cli, CliFile, testing::ValuesIn(files()), [](const auto& info) { return info.param; });

TEST(CliMatcher, KnowsItsWildcards) {
  EXPECT_TRUE(matches(std::string_view("a*c*"), "abbc"));
  EXPECT_FALSE(matches(std::string_view("a*c"), "abcd"));
  EXPECT_FALSE(matches(std::string_view(""), "x"));
  const std::vector<std::string> lines = {"one", "two", "three"};
  EXPECT_TRUE(matches(std::vector<std::string>{"...", "t*"}, lines));
  EXPECT_TRUE(matches(std::vector<std::string>{"one", "...", "three", "..."}, lines));
  EXPECT_FALSE(matches(std::vector<std::string>{"one", "two"}, lines));
  EXPECT_FALSE(matches(std::vector<std::string>{}, lines));
}

}  // namespace

// The region on a real pseudo-terminal; what it receives is looked at on a screen of the test's own.
#include "cli/live_region.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#if defined(__unix__) || defined(__APPLE__)
#include <signal.h>
#include <sys/wait.h>

#include "cli/console.h"
#include "cli/terminal_testing.h"

namespace moxie::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;

class Region : public ::testing::Test {
 protected:
  void SetUp() override { line_was_ended(); }  // whatever other tests have printed, a line begins

  void open(int columns, int rows) {
    size_ = {.rows = rows, .columns = columns};
    terminal_ = std::make_unique<Terminal>(static_cast<unsigned short>(columns), static_cast<unsigned short>(rows));
    ASSERT_GE(terminal_->slave(), 0) << "no pseudo-terminal: is /dev/pts mounted?";
    screen_ = std::make_unique<Screen>(columns, rows);
  }
  void say(const std::string& text) {
    const Redirection to_terminal(terminal_->slave());
    diagnose(text);
    look();
  }
  void draw(const std::vector<std::string>& lines) {
    const Redirection to_terminal(terminal_->slave());
    region_.draw(lines, size_);
    look();
  }
  void close() {
    const Redirection to_terminal(terminal_->slave());
    region_.close();
    look();
  }
  void look() { screen_->feed(read_all(terminal_->master())); }
  std::vector<std::string> rows() const {
    std::vector<std::string> all;
    for (int row = 0; row < size_.rows; ++row) all.push_back(screen_->row(row));
    return all;
  }

  TerminalSize size_;
  std::unique_ptr<Terminal> terminal_;
  std::unique_ptr<Screen> screen_;
  LiveRegion region_;
};

TEST_F(Region, StaysBelowTheTextThatScrolls) {
  open(20, 6);
  say("one\ntwo");
  draw({"[a]", "[b]"});
  EXPECT_THAT(rows(), ElementsAre("one", "two", "", "", "[a]", "[b]"));
  say(" and more\nthree");
  EXPECT_THAT(rows(), ElementsAre("one", "two and more", "three", "", "[a]", "[b]"));
  draw({"[a]", "[c]"});
  say(" more\nfour\nfive");
  EXPECT_THAT(rows(), ElementsAre("two and more", "three more", "four", "five", "[a]", "[c]"));
  close();
  EXPECT_THAT(rows(), ElementsAre("two and more", "three more", "four", "five", "", ""));
  EXPECT_TRUE(screen_->whole());
  say("\nend\n");
  EXPECT_THAT(screen_->lines(), ElementsAre("one", "two and more", "three more", "four", "five", "end", ""));
  EXPECT_EQ(screen_->unknown, 0);
}

TEST_F(Region, MakesRoomAtTheBottomOfAFullScreen) {
  open(20, 5);
  say("1\n2\n3\n4\n5\n6");
  draw({"[a]", "[b]"});
  EXPECT_THAT(rows(), ElementsAre("4", "5", "6", "[a]", "[b]"));
  say("th");
  close();
  EXPECT_THAT(screen_->lines(), ElementsAre("1", "2", "3", "4", "5", "6th", "", ""));
}

// Every text, in pieces of every size, with the region drawn after each of them.
TEST_F(Region, TheTextIsWhatItWouldBeWithoutIt) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "ä word " + std::to_string(i * i * i) + (i % 7 == 6 ? "\n" : " ");
  for (size_t piece = 1; piece < 14; ++piece) {
    open(16, 8);
    Screen plain(16, 8);
    for (size_t at = 0, i = 0; at < text.size(); ++i) {
      size_t end = std::min(at + piece, text.size());
      while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
      say(text.substr(at, end - at));
      at = end;
      draw({"region", std::to_string(i), std::string(15, '#')});
    }
    say("\n");
    close();
    for (size_t at = 0, end; at < text.size(); at = end + 1) {
      end = std::min(text.find('\n', at), text.size());
      plain.feed(text.substr(at, end - at) + "\r\n");
    }
    auto expected = plain.lines(), got = screen_->lines();
    while (!expected.empty() && expected.back().empty()) expected.pop_back();
    while (!got.empty() && got.back().empty()) got.pop_back();
    EXPECT_EQ(got, expected) << "pieces of " << piece;
  }
}

TEST_F(Region, FollowsATerminalThatChangesItsSize) {
  open(20, 8);
  say("1\n2\n3\n4\ntext");
  draw({"[a]", "[b]", "[c]"});
  for (const auto& [columns, height] : {std::pair{30, 12}, {30, 6}, {10, 9}, {25, 5}, {40, 20}}) {
    terminal_->resize(static_cast<unsigned short>(columns), static_cast<unsigned short>(height));
    screen_->resize(columns, height);
    size_ = {.rows = height, .columns = columns};
    draw({"[a]", "[b]", "[c]"});
    say(".");
    const auto all = rows();
    EXPECT_THAT(std::vector<std::string>(all.end() - 3, all.end()), ElementsAre("[a]", "[b]", "[c]"));
    EXPECT_EQ(std::count(all.begin(), all.end(), "[b]"), 1);
  }
  close();
  auto lines = screen_->lines();
  lines.resize(5);
  EXPECT_THAT(lines, ElementsAre("1", "2", "3", "4", "text....."));
  EXPECT_TRUE(screen_->whole());
}

TEST_F(Region, HasNoLinesWhereThereIsNoRoom) {
  open(20, 3);
  say("text");
  draw({"[a]", "[b]", "[c]"});
  EXPECT_THAT(rows(), ElementsAre("text", "", ""));
  draw({"[a]"});
  EXPECT_THAT(rows(), ElementsAre("text", "", "[a]"));
  draw({});
  EXPECT_THAT(rows(), ElementsAre("text", "", ""));
  EXPECT_TRUE(screen_->whole());
}

TEST_F(Region, WritesNothingWhereNothingHasChanged) {
  open(20, 6);
  draw({"[a]", "[b]"});
  const Redirection to_terminal(terminal_->slave());
  region_.draw({"[a]", "[b]"}, size_);
  EXPECT_EQ(read_all(terminal_->master()), "");
  region_.draw({"[a]", "[x]"}, size_);
  EXPECT_EQ(read_all(terminal_->master()), "\0337\033[6;1H[x]\033[K\0338");
  region_.close();
}

TEST_F(Region, SignalsThatEndTheProgramFindAWholeTerminal) {
  for (const int signal : {SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGABRT, SIGSEGV}) {
    open(20, 6);
    const pid_t child = fork();
    if (child == 0) {
      ::signal(signal, SIG_DFL);  // a sanitizer's would print
      dup2(terminal_->slave(), STDERR_FILENO);
      diagnose("text");
      LiveRegion region;
      region.draw({"[a]", "[b]"}, size_);
      raise(signal);
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << signal << ": " << status;
    look();
    EXPECT_THAT(rows(), ElementsAre("text", "", "", "", "", ""));
    EXPECT_TRUE(screen_->whole());
    EXPECT_EQ(screen_->cursor_column(), 4);
  }
}

TEST_F(Region, StoppedAndContinuedItComesBack) {
  open(20, 6);
  const pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    dup2(terminal_->slave(), STDERR_FILENO);
    diagnose("text");
    LiveRegion region;
    region.draw({"[a]", "[b]"}, size_);
    raise(SIGTSTP);
    region.draw({"[a]", "[b]"}, size_);
    _exit(7);
  }
  int status = 0;
  // In a process group of its own, of this session: not orphaned, so that it stops.
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status)) << status;
  look();
  EXPECT_THAT(rows(), ElementsAre("text", "", "", "", "", ""));
  EXPECT_TRUE(screen_->whole());
  screen_->feed("\r\nof the shell\r\n");
  kill(child, SIGCONT);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  look();
  EXPECT_THAT(rows(), ElementsAre("text", "of the shell", "", "", "[a]", "[b]"));
}

TEST_F(Region, HandlersAreThereNoLongerThanTheRegion) {
  struct sigaction before = {}, during = {}, after = {};
  sigaction(SIGTERM, nullptr, &before);
  open(20, 6);
  draw({"[a]"});
  sigaction(SIGTERM, nullptr, &during);
  close();
  sigaction(SIGTERM, nullptr, &after);
  EXPECT_NE(during.sa_handler, before.sa_handler);
  EXPECT_EQ(after.sa_handler, before.sa_handler);
}

}  // namespace
}  // namespace moxie::cli
#endif

// `moxie chat` on a pseudo-terminal: editing, history, and Ctrl-C that stops the answer and not the program.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "support/paths.h"

namespace moxie {
namespace {

using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class ChatTerminal : public testing::Test {
 protected:
  // Skips where the system gives no pseudo-terminal.
  bool start(std::vector<std::string> arguments) {
    winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    arguments.insert(arguments.begin(),
                     {moxie_program(), "chat", source_dir() + "/tests/data/models/stories260k-moe8", "--temp", "0"});
    std::vector<char*> words;
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    std::string cache = testing::TempDir() + "/moxie-chat-cache";
    child_ = forkpty(&master_, nullptr, nullptr, &size);
    if (child_ == 0) {
      setenv("TERM", "xterm", 1);
      setenv("LC_ALL", "C.UTF-8", 1);
      setenv("XDG_CACHE_HOME", cache.c_str(), 1);
      execv(words[0], words.data());
      _exit(127);
    }
    return child_ > 0;
  }

  void TearDown() override {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    if (master_ >= 0) close(master_);
  }

  void type(std::string_view keys) {
    ASSERT_EQ(write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  // Reads until `wanted` has come (after what was waited for before); false when it does not within a minute.
  bool wait_for(std::string_view wanted) {
    const auto end = Clock::now() + std::chrono::seconds(60);
    while (Clock::now() < end) {
      if (const size_t found = seen_.find(wanted, from_); found != std::string::npos) {
        from_ = found + wanted.size();
        return true;
      }
      pollfd poll_for{.fd = master_, .events = POLLIN, .revents = 0};
      if (poll(&poll_for, 1, 1000) <= 0) continue;
      char buffer[4096];
      const ssize_t count = read(master_, buffer, sizeof buffer);
      if (count <= 0) break;
      seen_.append(buffer, static_cast<size_t>(count));
    }
    return seen_.find(wanted, from_) != std::string::npos;
  }

  // -1 when the program goes on; TearDown ends it.
  int exit_status() {
    wait_for("never written");  // what it still writes is taken, so that it can end
    int status = 0;
    pid_t ended = 0;
    for (int tries = 0; tries < 500 && ended == 0; ++tries) {
      ended = waitpid(child_, &status, WNOHANG);
      if (ended == 0) usleep(10'000);
    }
    if (ended != child_) return -1;
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  pid_t child_ = -1;
  int master_ = -1;
  std::string seen_;
  size_t from_ = 0;
};

TEST_F(ChatTerminal, LinesAreEditedAndRemembered) {
  if (!start({"-n", "3"})) GTEST_SKIP() << "no pseudo-terminal";
  ASSERT_TRUE(wait_for("/help lists the commands")) << seen_;
  ASSERT_TRUE(wait_for("> ")) << seen_;
  type(
      "/system Be briXX\x7f\x7f"
      "ef.\r");
  ASSERT_TRUE(wait_for("> ")) << seen_;
  type("/system\r");
  ASSERT_TRUE(wait_for("\nBe brief.")) << seen_;
  ASSERT_TRUE(wait_for("> ")) << seen_;
  type("\x1b[A\r");  // the line before
  ASSERT_TRUE(wait_for("\nBe brief.")) << seen_;
  ASSERT_TRUE(wait_for("> ")) << seen_;
  type("half a line\x03");  // Ctrl-C empties it
  ASSERT_TRUE(wait_for("> ")) << seen_;
  type("/system\r");
  ASSERT_TRUE(wait_for("\nBe brief.")) << seen_;
  ASSERT_TRUE(wait_for("> ")) << seen_;  // the end of input counts for whoever reads lines
  type("\x04");
  EXPECT_EQ(exit_status(), 0);
}

TEST_F(ChatTerminal, CtrlCStopsTheAnswerAndNotTheProgram) {
  if (!start({"--ignore-eos", "-c", "100000", "--chat-template", "none"})) GTEST_SKIP() << "no pseudo-terminal";
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(wait_for("> ")) << seen_;
    type("Once upon a time\r");
    ASSERT_TRUE(wait_for("\n")) << seen_;
    ASSERT_TRUE(wait_for("the")) << seen_;
    type("\x03");
    ASSERT_TRUE(wait_for("> ")) << seen_;
    type("/stats\r");
    ASSERT_TRUE(wait_for(i == 0 ? ", 2 messages" : ", 4 messages")) << seen_;
    usleep(400'000);  // two interrupts in quick succession count as one
  }
  ASSERT_TRUE(wait_for("> ")) << seen_;
  type("/exit\r");
  EXPECT_EQ(exit_status(), 0);
}

}  // namespace
}  // namespace moxie

// The loading line with a real terminal behind stderr, and with a pipe.
#include "cli/progress.h"

#include <gtest/gtest.h>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>

#include <string>

#include "cli/terminal_testing.h"

namespace moxie::cli {
namespace {

int time_ms = 0;  // a clock that waits for nobody

// What a load of a MiB that is slow enough to be worth a line writes to stderr.
void load_slowly() {
  time_ms = 0;
  Progress progress("loading", [] { return Progress::Clock::time_point(std::chrono::milliseconds(time_ms)); });
  time_ms = 299;
  progress.update(1 << 18, 1 << 20);  // too early for a line
  time_ms = 350;
  progress.update(1 << 19, 1 << 20);
  time_ms = 449;
  progress.update(3 << 18, 1 << 20);  // right after it: not again
}

constexpr const char* kNoTerminal = "no pseudo-terminals here: is /dev/pts mounted?";

std::string written_to(const Terminal& terminal) {
  {
    const Redirection to_terminal(terminal.slave());
    load_slowly();
  }
  return read_all(terminal.master());
}

TEST(Progress, IsALineOnATerminalThatGoesAway) {
  const Terminal terminal(100);
  if (terminal.slave() < 0) GTEST_SKIP() << kNoTerminal;
  const std::string text = written_to(terminal), start = "\r\x1b[K";
  EXPECT_TRUE(text.starts_with(start + "loading 512.0 KiB of 1.0 MiB, ")) << text;
  EXPECT_TRUE(text.ends_with(" left" + start)) << text;
  EXPECT_EQ(text.find("768"), std::string::npos) << text;
}

TEST(Progress, StaysWithinTheTerminalsColumns) {
  const Terminal terminal(12);
  if (terminal.slave() < 0) GTEST_SKIP() << kNoTerminal;
  EXPECT_EQ(written_to(terminal), "\r\x1b[Kloading 512\r\x1b[K");
}

TEST(Progress, IsSilentInAPipe) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  {
    const Redirection to_pipe(ends[1]);
    load_slowly();
  }
  EXPECT_EQ(read_all(ends[0]), "");
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace moxie::cli
#endif

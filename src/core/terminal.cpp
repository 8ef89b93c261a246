#include "core/terminal.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/ioctl.h>
#include <unistd.h>
#endif

#include <filesystem>

namespace moxie {

bool is_terminal(StandardStream stream) {
#if defined(__unix__) || defined(__APPLE__)
  return isatty(static_cast<int>(stream)) == 1;
#else
  static_cast<void>(stream);
  return false;
#endif
}

TerminalSize terminal_size(StandardStream stream) {
  TerminalSize found;
#if defined(TIOCGWINSZ)
  winsize size = {};
  if (ioctl(static_cast<int>(stream), TIOCGWINSZ, &size) == 0) {
    if (size.ws_row > 0) found.rows = size.ws_row;
    if (size.ws_col > 0) found.columns = size.ws_col;
  }
#else
  static_cast<void>(stream);
#endif
  return found;
}

std::string executable_path() {
#if defined(__linux__)
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string() : path.string();
#else
  return {};
#endif
}

}  // namespace moxie

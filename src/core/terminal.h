// The process's surroundings: its standard streams and where its program lies. Thread-safe.
#pragma once

#include <string>

namespace moxie {

enum class StandardStream { input = 0, output = 1, error = 2 };

bool is_terminal(StandardStream stream);
struct TerminalSize {
  int rows = 24, columns = 80;
};
// Of the terminal behind a stream; 24 rows of 80 columns when there is none or it does not say.
TerminalSize terminal_size(StandardStream stream);
inline int terminal_columns(StandardStream stream) {
  return terminal_size(stream).columns;
}
// The program's file, links resolved; empty where the system does not tell.
std::string executable_path();

}  // namespace moxie

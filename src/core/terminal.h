// The process's surroundings: its standard streams and where its program lies. Thread-safe.
#pragma once

#include <string>

namespace moxie {

enum class StandardStream { input = 0, output = 1, error = 2 };

bool is_terminal(StandardStream stream);
// Columns of the terminal behind a stream; 80 when there is none or it does not say.
int terminal_columns(StandardStream stream);
// The program's file, links resolved; empty where the system does not tell.
std::string executable_path();

}  // namespace moxie

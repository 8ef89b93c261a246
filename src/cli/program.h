// The program, apart from main().
#pragma once

#include <span>
#include <string>

namespace moxie::cli {

// arguments[0] is the name the program was called by. Returns the exit status.
int run_program(std::span<const std::string> arguments);

}  // namespace moxie::cli

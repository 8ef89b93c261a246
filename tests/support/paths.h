#pragma once
// Where the tests find the source tree and the program. The two paths are compiled into one file only, so that every
// other test compiles to the same object in every folder (compiler caches are shared between clones).

#include <string>

namespace moxie {

std::string source_dir();
std::string moxie_program();

}  // namespace moxie

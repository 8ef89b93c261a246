// Words shared by the errors of all formats. Stateless, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/printable.h"
#include "moxie/error.h"

namespace moxie {

// The error with a sentence more.
Error add_remedy(Error error, std::string_view remedy);
// "a, b, c and 12 more".
std::string name_some(const std::vector<std::string>& names, size_t limit = 32);
// The header is whole but the data is not: how much is missing and what to do.
Error truncated_error(const std::string& path, uint64_t expected_bytes, uint64_t found_bytes);

// A piece of a file that was cut with `split` and not by a GGUF tool ("x.gguf-split-a", "x.gguf.part1of3",
// "x.gguf.aa").
bool is_byte_split_name(std::string_view name);
// The path of the whole file that such a piece is of; empty for other names.
std::string byte_split_stem(const std::string& path);
// How to put such pieces together again.
std::string byte_split_remedy(const std::string& path);

}  // namespace moxie

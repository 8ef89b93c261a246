// Tokens to a tree, by Jinja2's grammar with the statements that transformers adds (break, continue, generation). What
// needs other templates (extends, include, import) is refused by name. Pure functions.
#pragma once

#include <string_view>

#include "chat/jinja/ast.h"
#include "moxie/error.h"

namespace moxie::jinja {

constexpr int kTreeDepthMax = 300;           // of nested statements and expressions
constexpr size_t kSourceBytesMax = 1 << 20;  // of a template; the longest known have 40 KB

// Errors: corrupt, with the line; unsupported, beyond a limit.
Result<Tree> parse(std::string_view source);

}  // namespace moxie::jinja

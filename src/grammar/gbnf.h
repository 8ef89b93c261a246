// GBNF, the grammar language of llama.cpp: rules `name ::= ...`, of which `root` is the text.
//
//   "text"  [a-z0-9]  [^"\n]  .  ( ... )  a b  a | b  x? x* x+ x{3} x{2,} x{2,5}  # comment
//   escapes \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH; <[1000]> one token by id, <name> by its text, !<...> any other
#pragma once

#include <functional>
#include <string_view>

#include "grammar/expression.h"
#include "moxie/error.h"

namespace moxie::grammar {

// The id of the token whose text this is ("<|end|>"), or -1.
using FindToken = std::function<int32_t(std::string_view)>;

// Errors: invalid_argument with line and column; unsupported beyond a limit.
Result<Grammar> parse_gbnf(std::string_view text, const FindToken& find_token = {});

}  // namespace moxie::grammar

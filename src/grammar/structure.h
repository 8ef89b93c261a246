// Answers of a fixed frame with free parts: marks, control tokens and JSON schemas in a row. Tool calls are held to
// their form with it.
//
//   {"rules": {NAME: NODE, ...}, "root": NODE}      rules may be left out
//   NODE: "text"                  itself
//         {"token": "[CALL]"}     the token of that text; the text where the vocabulary has no such token
//         {"schema": SCHEMA}      JSON under a schema
//         {"regex": "[0-9]+"}     a text that matches
//         {"free": "</end>"}      any text in which that mark, text or token, does not come
//         {"sequence": [NODE]}, {"choice": [NODE]}, {"repeat": NODE, "min": 0, "max": 3}, {"rule": NAME}
#pragma once

#include <string_view>

#include "grammar/expression.h"
#include "grammar/gbnf.h"
#include "moxie/error.h"

namespace moxie::grammar {

// Errors: corrupt for text that is no JSON; invalid_argument for a node that is none of these; those of the parts.
Result<Grammar> parse_structure(std::string_view text, const FindToken& find_token);

}  // namespace moxie::grammar

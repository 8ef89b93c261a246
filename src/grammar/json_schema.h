// A JSON schema (draft 2020-12, with the earlier spellings) as a grammar of the JSON texts that it allows.
//
// What a grammar cannot say is refused by name: nothing is left out in silence. Names stand in the order of the schema,
// further ones after them; whole numbers have no fraction; texts under a pattern, format or length, names and constants
// are spelled in one way (see docs/structured-output.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grammar/expression.h"
#include "moxie/error.h"

namespace moxie::grammar {

struct SchemaGrammar {
  Grammar grammar;
  std::vector<std::string> notices;  // what is looser than the schema says, one sentence each
};

// Errors: corrupt for text that is no JSON; invalid_argument for a keyword with a wrong value; unsupported for one that
// no grammar can say (names it, its place and what to do) and beyond a limit. `outer_levels`: in how many lists and
// objects of a larger text the value lies, which it may be indented by.
Result<SchemaGrammar> parse_json_schema(std::string_view text, uint32_t outer_levels = 0);

}  // namespace moxie::grammar

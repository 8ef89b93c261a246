// Regular expressions as automata over characters, in the syntax of JavaScript (which JSON Schema names), without what
// is not regular: no look-around, no back-references, no word boundaries.
//
//   abc  .  [a-z]  [^a-z]  \d \w \s \D \W \S  (a|b)  (?:a)  (?<name>a)  a? a* a+ a{2} a{2,} a{2,5}  ^ $
//   \n \r \t \f \v \0 \cA \xHH \uHHHH \u{H...}; a lazy mark (a*?) changes nothing
#pragma once

#include <string_view>

#include "grammar/char_dfa.h"
#include "moxie/error.h"

namespace moxie::grammar {

enum class RegexMatch {
  whole,     // the expression describes the whole text
  anywhere,  // some part of the text matches, unless ^ or $ say which
};

// Errors: invalid_argument with the column, unsupported for what is not regular and beyond CharDfa::kStatesMax.
Result<CharDfa> compile_regex(std::string_view text, RegexMatch match);

}  // namespace moxie::grammar

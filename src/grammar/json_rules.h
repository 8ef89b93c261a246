// The rules of JSON itself in a grammar: what a JSON schema's rules are made of. Refers to the grammar, which outlives
// it.
#pragma once

#include <string>
#include <string_view>

#include "core/json.h"
#include "grammar/expression.h"

namespace moxie::grammar {

// A text as a JSON string, each character in the spelling of json_char().
std::string json_spelled(const std::string& text);

class JsonRules {
 public:
  // Adds the rules below. `blank` stays empty until limit_indent().
  explicit JsonRules(Grammar& grammar);

  // Blanks between parts: at most one line end with an indent as deep as what `root` matches can be nested, since a
  // weak model writes as many as it may. `outer_levels`: how deep it lies itself.
  void limit_indent(RuleId root, uint32_t outer_levels);

  RuleId blank = 0;
  RuleId text = 0, whole = 0, number = 0, value = 0, object = 0, array = 0;

  // One character of a text in any spelling; a pair of \u escapes is one character.
  ExpressionId character();
  // A value as it stands, with blanks where JSON has them.
  ExpressionId constant(const Json& json);

 private:
  ExpressionId rule(RuleId id) { return grammar_.rule(id); }
  ExpressionId blanks() { return rule(blank); }
  ExpressionId literal(std::string text) { return grammar_.literal(std::move(text)); }
  ExpressionId one_of(std::string_view bytes);
  ExpressionId hex_digits(uint32_t count);
  ExpressionId whole_number();
  void add_numbers();
  void add_values();

  Grammar& grammar_;
};

}  // namespace moxie::grammar

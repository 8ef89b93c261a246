// Deterministic automata over characters: what a regular expression or a set of words accepts, with the operations of
// sets. Bounded in states. Values; functions are thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/char_set.h"
#include "grammar/expression.h"
#include "moxie/error.h"

namespace moxie::grammar {

class CharDfa {
 public:
  struct Edge {
    uint32_t first, last;  // characters
    uint32_t target;
  };
  struct State {
    std::vector<Edge> edges;  // ascending, disjoint; a character without an edge is refused
    bool accepting = false;
  };
  static constexpr size_t kStatesMax = 20000;

  std::vector<State> states = std::vector<State>(1);  // begins at 0

  static CharDfa nothing() { return {}; }
  static CharDfa anything();
  static CharDfa words(std::span<const std::string> words);  // REQUIRES: UTF-8
  // Any text of min to max characters; max kUnbounded: no limit. Error: unsupported, too many states.
  static Result<CharDfa> length(uint32_t min, uint32_t max);

  // Each errs (unsupported) beyond kStatesMax.
  static Result<CharDfa> both(const CharDfa& a, const CharDfa& b);
  static Result<CharDfa> either(const CharDfa& a, const CharDfa& b);
  static Result<CharDfa> without(const CharDfa& a, const CharDfa& b);

  bool accepts(std::string_view text) const;
  bool empty() const { return !states[0].accepting && states[0].edges.empty(); }  // REQUIRES: trimmed, as all these are
  // Drops what cannot be completed or reached.
  void trim();

  // As part of a grammar: the text itself, or as it stands between the quotes of a JSON string (each character in one
  // spelling: short escapes where there are some, \u00XX for other controls, itself otherwise).
  ExpressionId to_text(Grammar& grammar) const;
  ExpressionId to_json(Grammar& grammar) const;

 private:
  template <typename Accept>
  static Result<CharDfa> product(const CharDfa& a, const CharDfa& b, const Accept& accept);
  template <typename Label>
  ExpressionId to_graph(Grammar& grammar, const Label& label) const;
};

// One of these characters within a JSON string, spelled as to_json() says.
ExpressionId json_char(Grammar& grammar, const CharSet& set);

}  // namespace moxie::grammar

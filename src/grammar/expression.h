// A grammar as rules over expressions: what the parsers (GBNF, regex, JSON schema) make and automaton.h compiles.
// Plain data; not thread-safe while it is built.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "grammar/char_set.h"

namespace moxie::grammar {

using ExpressionId = uint32_t;
using RuleId = uint32_t;
inline constexpr uint32_t kUnbounded = std::numeric_limits<uint32_t>::max();
inline constexpr ExpressionId kNothing = std::numeric_limits<ExpressionId>::max();  // of a graph's edge: no text

struct GraphEdge {
  uint32_t from, to;
  ExpressionId label;  // kNothing: the edge takes no text
};

struct Expression {
  enum class Kind : uint8_t {
    literal,   // `text`, byte for byte
    chars,     // one character of `chars`
    sequence,  // `parts` in a row; none: the empty text
    choice,    // one of `parts`; none: nothing matches
    repeat,    // parts[0], `min` to `max` times
    rule,      // what `rule` matches
    token,     // one token: `token`, or any other if `negated`
    graph,     // a way from node 0 to node 1 along `edges`
  };
  Kind kind = Kind::sequence;
  bool negated = false;
  uint32_t min = 0, max = 0;
  RuleId rule = 0;
  int32_t token = -1;
  uint32_t graph_nodes = 0;
  std::string text;
  CharSet chars;  // canonical
  std::vector<ExpressionId> parts;
  std::vector<GraphEdge> edges;
};

struct Rule {
  std::string name;
  ExpressionId body = kNothing;
};

// Each expression is part of at most one other: a tree, so that walking it is bounded by its size.
struct Grammar {
  std::vector<Expression> expressions;
  std::vector<Rule> rules;
  RuleId root = 0;

  const Expression& at(ExpressionId id) const { return expressions[id]; }
  ExpressionId add(Expression expression) {
    expressions.push_back(std::move(expression));
    return static_cast<ExpressionId>(expressions.size() - 1);
  }
  RuleId add_rule(std::string name, ExpressionId body = kNothing) {
    rules.push_back({std::move(name), body});
    return static_cast<RuleId>(rules.size() - 1);
  }

  ExpressionId literal(std::string text) { return add({.kind = Expression::Kind::literal, .text = std::move(text)}); }
  ExpressionId chars(CharSet set) { return add({.kind = Expression::Kind::chars, .chars = tidy(std::move(set))}); }
  ExpressionId sequence(std::vector<ExpressionId> parts) {
    return parts.size() == 1 ? parts[0] : add({.kind = Expression::Kind::sequence, .parts = std::move(parts)});
  }
  ExpressionId choice(std::vector<ExpressionId> parts) {
    return parts.size() == 1 ? parts[0] : add({.kind = Expression::Kind::choice, .parts = std::move(parts)});
  }
  ExpressionId repeat(ExpressionId part, uint32_t min, uint32_t max) {
    return add({.kind = Expression::Kind::repeat, .min = min, .max = max, .parts = {part}});
  }
  ExpressionId rule(RuleId id) { return add({.kind = Expression::Kind::rule, .rule = id}); }
  ExpressionId graph(uint32_t nodes, std::vector<GraphEdge> edges) {
    return add({.kind = Expression::Kind::graph, .graph_nodes = nodes, .edges = std::move(edges)});
  }
};

}  // namespace moxie::grammar

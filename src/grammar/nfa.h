// From expressions to the automata of single rules: lowering to a graph with empty edges, then making it deterministic.
// Used by Automaton::compile alone. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/expression.h"
#include "moxie/error.h"

namespace moxie::grammar {

struct NfaEdge {
  enum class Kind : uint8_t { empty, bytes, call, token };
  Kind kind;
  uint8_t first = 0, last = 0;  // bytes
  bool negated = false;         // token
  uint32_t value = 0;           // rule or token
  uint32_t target = 0;
};

// Begins at node 0, ends at node 1.
struct Nfa {
  std::vector<std::vector<NfaEdge>> nodes = std::vector<std::vector<NfaEdge>>(2);
};

// One rule's automaton without empty edges, begins at state 0.
struct RuleAutomaton {
  struct State {
    bool accepting = false;
    std::vector<ByteEdge> bytes;
    std::vector<CallEdge> calls;
    std::vector<TokenEdge> tokens;
  };
  std::vector<State> states;
};

// Deterministic where that stays within a few times the size of the nfa; else only freed of empty edges.
// Error: unsupported beyond the limits.
Result<RuleAutomaton> without_empty_edges(const Nfa& nfa, const CompileLimits& limits);

// Turns rules into Nfas. Long repetitions become rules of their own, numbered after those of the grammar.
class Lowering {
 public:
  Lowering(const Grammar& grammar, const CompileLimits& limits) : grammar_(grammar), limits_(limits) {}

  size_t rule_count() const { return grammar_.rules.size() + made_.size(); }
  std::string rule_name(RuleId rule) const;
  // Error: unsupported when all rules together have too many nodes.
  Result<Nfa> lower(RuleId rule);

 private:
  using Body = std::function<void(Nfa&)>;

  uint32_t node(Nfa& nfa);
  void edge(Nfa& nfa, uint32_t from, NfaEdge edge);
  void connect(Nfa& nfa, uint32_t from, uint32_t to) { edge(nfa, from, {NfaEdge::Kind::empty, 0, 0, false, 0, to}); }
  void call(Nfa& nfa, RuleId rule, uint32_t from, uint32_t to) {
    edge(nfa, from, {NfaEdge::Kind::call, 0, 0, false, rule, to});
  }
  void lower(Nfa& nfa, ExpressionId id, uint32_t from, uint32_t to);
  void lower_chars(Nfa& nfa, const CharSet& set, uint32_t from, uint32_t to);
  void lower_graph(Nfa& nfa, const Expression& expression, uint32_t from, uint32_t to);
  void lower_repeat(Nfa& nfa, const Expression& expression, uint32_t from, uint32_t to);
  uint32_t unrolled(Nfa& nfa, ExpressionId part, uint32_t count, uint32_t from);
  void exactly(Nfa& nfa, ExpressionId part, uint32_t count, uint32_t from, uint32_t to);
  void at_most(Nfa& nfa, ExpressionId part, uint32_t count, uint32_t from, uint32_t to);
  uint32_t block_size(ExpressionId part);
  RuleId power(ExpressionId part, uint32_t log);
  RuleId at_most_rule(ExpressionId part, uint32_t count);
  RuleId make(Body body);
  uint64_t size(ExpressionId id);

  const Grammar& grammar_;
  const CompileLimits& limits_;
  std::vector<Body> made_;
  std::map<std::pair<ExpressionId, uint32_t>, RuleId> powers_, at_most_;
  std::map<ExpressionId, uint64_t> sizes_;
  size_t nodes_ = 0;
  bool full_ = false;
};

}  // namespace moxie::grammar

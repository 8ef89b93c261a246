// A compiled grammar: one automaton over bytes per rule, whose edges are bytes, whole tokens, or calls of other rules.
//
// Compiling makes each rule's automaton deterministic where that does not blow it up, removes what can never be
// completed, and refuses left recursion. Immutable once compiled; thread-safe.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "grammar/expression.h"
#include "moxie/error.h"

namespace moxie::grammar {

using ByteSet = std::bitset<256>;

struct ByteEdge {
  uint8_t first, last;
  uint32_t target;
};
struct CallEdge {
  RuleId rule;
  uint32_t target;  // where it goes on after the rule
};
struct TokenEdge {
  int32_t token;
  bool negated;
  uint32_t target;
};

// What a grammar may cost; beyond, compiling fails by name.
struct CompileLimits {
  size_t nodes_max = 1'500'000;  // before determinising
  size_t states_max = 400'000;
  size_t edges_max = 4'000'000;
  uint32_t unroll_max = 4096;  // nodes that one repetition may take before it is built from calls
};

class Automaton {
 public:
  struct State {
    uint32_t bytes_begin, bytes_end;
    uint32_t calls_begin, calls_end;
    uint32_t tokens_begin, tokens_end;
    RuleId rule;
    bool accepting;
    // Accepting, and nothing follows: who returns here may as well return to the caller.
    bool is_end() const {
      return accepting && bytes_begin == bytes_end && calls_begin == calls_end && tokens_begin == tokens_end;
    }
  };

  // Errors: invalid_argument for left recursion (names the rules) and a grammar that matches nothing; unsupported
  // beyond a limit.
  static Result<Automaton> compile(const Grammar& grammar, const CompileLimits& limits = {});

  const State& state(uint32_t id) const { return states_[id]; }
  size_t state_count() const { return states_.size(); }
  std::span<const ByteEdge> byte_edges(const State& s) const {
    return {byte_edges_.data() + s.bytes_begin, s.bytes_end - s.bytes_begin};
  }
  std::span<const CallEdge> call_edges(const State& s) const {
    return {call_edges_.data() + s.calls_begin, s.calls_end - s.calls_begin};
  }
  std::span<const TokenEdge> token_edges(const State& s) const {
    return {token_edges_.data() + s.tokens_begin, s.tokens_end - s.tokens_begin};
  }
  uint32_t start(RuleId rule) const { return starts_[rule]; }
  uint32_t root_start() const { return starts_[root_]; }
  bool has_token_edges() const { return !token_edges_.empty(); }
  // The bytes that may come after a rule, wherever it is called.
  const ByteSet& follow(RuleId rule) const { return follow_[rule]; }

 private:
  friend class AutomatonBuilder;
  std::vector<State> states_;
  std::vector<ByteEdge> byte_edges_;
  std::vector<CallEdge> call_edges_;
  std::vector<TokenEdge> token_edges_;
  std::vector<uint32_t> starts_;  // (rules)
  std::vector<ByteSet> follow_;   // (rules)
  RuleId root_ = 0;
};

}  // namespace moxie::grammar

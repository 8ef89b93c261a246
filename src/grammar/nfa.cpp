#include "grammar/nfa.h"

#include <algorithm>
#include <unordered_map>

#include "core/check.h"
#include "core/fail.h"

namespace moxie::grammar {

std::string Lowering::rule_name(RuleId rule) const {
  return rule < grammar_.rules.size() ? grammar_.rules[rule].name : "(a repetition)";
}

Result<Nfa> Lowering::lower(RuleId rule) {
  Nfa nfa;
  nodes_ += 2;
  if (rule < grammar_.rules.size()) {
    lower(nfa, grammar_.rules[rule].body, 0, 1);
  } else {
    const Body body = made_[rule - grammar_.rules.size()];  // a copy: making more moves them
    body(nfa);
  }
  if (full_) {
    return fail(ErrorCode::unsupported,
                "the grammar needs more than {} nodes (reached in rule '{}'); use fewer or shorter repetitions",
                limits_.nodes_max, rule_name(rule));
  }
  return nfa;
}

uint32_t Lowering::node(Nfa& nfa) {
  if (++nodes_ > limits_.nodes_max) full_ = true;
  if (full_) return 1;  // the result is thrown away
  nfa.nodes.emplace_back();
  return static_cast<uint32_t>(nfa.nodes.size() - 1);
}

void Lowering::edge(Nfa& nfa, uint32_t from, NfaEdge edge) {
  if (!full_) nfa.nodes[from].push_back(edge);
}

void Lowering::lower(Nfa& nfa, ExpressionId id, uint32_t from, uint32_t to) {
  if (full_) return;
  const Expression& expression = grammar_.at(id);
  switch (expression.kind) {
    case Expression::Kind::literal: {
      uint32_t at = from;
      for (const char c : expression.text) {
        const uint32_t next = node(nfa);
        const uint8_t byte = static_cast<uint8_t>(c);
        edge(nfa, at, {NfaEdge::Kind::bytes, byte, byte, false, 0, next});
        at = next;
      }
      connect(nfa, at, to);
      return;
    }
    case Expression::Kind::chars:
      lower_chars(nfa, expression.chars, from, to);
      return;
    case Expression::Kind::sequence: {
      uint32_t at = from;
      for (const ExpressionId part : expression.parts) {
        const uint32_t next = node(nfa);
        lower(nfa, part, at, next);
        at = next;
      }
      connect(nfa, at, to);
      return;
    }
    case Expression::Kind::choice:
      for (const ExpressionId part : expression.parts) {
        const uint32_t begin = node(nfa);  // of its own: a loop in one part must not lead into another
        const uint32_t end = node(nfa);
        connect(nfa, from, begin);
        lower(nfa, part, begin, end);
        connect(nfa, end, to);
      }
      return;
    case Expression::Kind::repeat:
      lower_repeat(nfa, expression, from, to);
      return;
    case Expression::Kind::rule:
      call(nfa, expression.rule, from, to);
      return;
    case Expression::Kind::token:
      edge(nfa, from, {NfaEdge::Kind::token, 0, 0, expression.negated, static_cast<uint32_t>(expression.token), to});
      return;
    case Expression::Kind::graph:
      lower_graph(nfa, expression, from, to);
      return;
  }
}

void Lowering::lower_chars(Nfa& nfa, const CharSet& set, uint32_t from, uint32_t to) {
  for (const Utf8Ranges& ranges : utf8_ranges(set)) {
    uint32_t at = from;
    for (int i = 0; i < ranges.length; ++i) {
      const uint32_t next = i + 1 == ranges.length ? to : node(nfa);
      const ByteRange range = ranges.bytes[static_cast<size_t>(i)];
      edge(nfa, at, {NfaEdge::Kind::bytes, range.first, range.last, false, 0, next});
      at = next;
    }
  }
}

void Lowering::lower_graph(Nfa& nfa, const Expression& expression, uint32_t from, uint32_t to) {
  std::vector<uint32_t> nodes(std::max<uint32_t>(expression.graph_nodes, 2));
  for (uint32_t& each : nodes) {
    each = node(nfa);
    if (full_) return;
  }
  connect(nfa, from, nodes[0]);
  connect(nfa, nodes[1], to);
  for (const GraphEdge& each : expression.edges) {
    if (each.label == kNothing) {
      connect(nfa, nodes[each.from], nodes[each.to]);
    } else {
      lower(nfa, each.label, nodes[each.from], nodes[each.to]);
    }
    if (full_) return;
  }
}

// ---- repetitions ----
// Short ones are written out. Long ones are put together from rules for powers of two of a block that is written out:
// a state then needs the logarithm of the count, and most tokens end within the block that they begin in.

uint64_t Lowering::size(ExpressionId id) {
  if (const auto known = sizes_.find(id); known != sizes_.end()) return known->second;
  const Expression& expression = grammar_.at(id);
  uint64_t total = 1;
  switch (expression.kind) {
    case Expression::Kind::literal:
      total = expression.text.size() + 1;
      break;
    case Expression::Kind::chars:
      for (const Utf8Ranges& ranges : utf8_ranges(expression.chars)) total += static_cast<uint64_t>(ranges.length - 1);
      break;
    case Expression::Kind::sequence:
    case Expression::Kind::choice:
      for (const ExpressionId part : expression.parts) total += size(part) + 2;
      break;
    case Expression::Kind::repeat: {
      const uint64_t copies = expression.max == kUnbounded ? uint64_t{expression.min} + 1 : expression.max;
      total = std::min<uint64_t>(copies * (size(expression.parts[0]) + 1) + 2, limits_.unroll_max);
      break;
    }
    case Expression::Kind::rule:
    case Expression::Kind::token:
      break;
    case Expression::Kind::graph:
      total = expression.graph_nodes;
      for (const GraphEdge& each : expression.edges) total += each.label == kNothing ? 0 : size(each.label);
      break;
  }
  total = std::min<uint64_t>(total, limits_.nodes_max);
  sizes_[id] = total;
  return total;
}

void Lowering::lower_repeat(Nfa& nfa, const Expression& expression, uint32_t from, uint32_t to) {
  const ExpressionId part = expression.parts[0];
  const uint32_t least = expression.min;
  const uint32_t most = expression.max;
  const uint32_t middle = node(nfa);
  exactly(nfa, part, least, from, middle);
  if (most != kUnbounded) {
    at_most(nfa, part, most - least, middle, to);
    return;
  }
  const uint32_t loop = node(nfa);
  const uint32_t again = node(nfa);
  connect(nfa, middle, loop);
  lower(nfa, part, loop, again);
  connect(nfa, again, loop);
  connect(nfa, loop, to);
}

uint32_t Lowering::unrolled(Nfa& nfa, ExpressionId part, uint32_t count, uint32_t from) {
  uint32_t at = from;
  for (uint32_t i = 0; i < count && !full_; ++i) {
    const uint32_t next = node(nfa);
    lower(nfa, part, at, next);
    at = next;
  }
  return at;
}

uint32_t Lowering::block_size(ExpressionId part) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(limits_.unroll_max / 4 / (size(part) + 1), 1, 64));
}

RuleId Lowering::make(Body body) {
  made_.push_back(std::move(body));
  return static_cast<RuleId>(grammar_.rules.size() + made_.size() - 1);
}

// The rule for `block_size * 2^log` times the part.
RuleId Lowering::power(ExpressionId part, uint32_t log) {
  const std::pair key{part, log};
  if (const auto known = powers_.find(key); known != powers_.end()) return known->second;
  RuleId made;
  if (log == 0) {
    made = make([this, part](Nfa& nfa) { connect(nfa, unrolled(nfa, part, block_size(part), 0), 1); });
  } else {
    const RuleId half = power(part, log - 1);
    made = make([this, half](Nfa& nfa) {
      const uint32_t middle = node(nfa);
      call(nfa, half, 0, middle);
      call(nfa, half, middle, 1);
    });
  }
  powers_[key] = made;
  return made;
}

void Lowering::exactly(Nfa& nfa, ExpressionId part, uint32_t count, uint32_t from, uint32_t to) {
  uint32_t at = from;
  uint32_t rest = count;
  if (uint64_t{count} * (size(part) + 1) > limits_.unroll_max) {
    const uint32_t block = block_size(part);
    for (uint32_t blocks = count / block, log = 0; blocks != 0; blocks >>= 1, ++log) {
      if ((blocks & 1) == 0) continue;
      const uint32_t next = node(nfa);
      call(nfa, power(part, log), at, next);
      at = next;
    }
    rest = count % block;
  }
  connect(nfa, unrolled(nfa, part, rest, at), to);
}

void Lowering::at_most(Nfa& nfa, ExpressionId part, uint32_t count, uint32_t from, uint32_t to) {
  const uint32_t block = block_size(part);
  if (count > block && uint64_t{count} * (size(part) + 1) > limits_.unroll_max) {
    call(nfa, at_most_rule(part, count), from, to);
    return;
  }
  uint32_t at = from;
  for (uint32_t i = 0; i < count && !full_; ++i) {
    connect(nfa, at, to);
    at = unrolled(nfa, part, 1, at);
  }
  connect(nfa, at, to);
}

// 0 to count times: either the largest power that fits and then 0 to the rest, or fewer than that power.
RuleId Lowering::at_most_rule(ExpressionId part, uint32_t count) {
  const std::pair key{part, count};
  if (const auto known = at_most_.find(key); known != at_most_.end()) return known->second;
  const uint32_t block = block_size(part);
  RuleId made;
  if (count <= block) {
    made = make([this, part, count](Nfa& nfa) { at_most(nfa, part, count, 0, 1); });
  } else {
    uint32_t log = 0;
    while ((uint64_t{block} << (log + 1)) <= count) ++log;
    const uint32_t taken = block << log;
    const RuleId whole = power(part, log);
    const RuleId rest = at_most_rule(part, count - taken);
    const RuleId fewer = at_most_rule(part, taken - 1);
    made = make([this, whole, rest, fewer](Nfa& nfa) {
      const uint32_t middle = node(nfa);
      call(nfa, whole, 0, middle);
      call(nfa, rest, middle, 1);
      call(nfa, fewer, 0, 1);
    });
  }
  at_most_[key] = made;
  return made;
}

// ---- determinising ----

namespace {

struct SetHash {
  size_t operator()(const std::vector<uint32_t>& set) const {
    uint64_t hash = 0x9E3779B97F4A7C15u ^ set.size();
    for (const uint32_t value : set) hash = (hash ^ value) * 0x100000001B3u + (hash >> 29);
    return static_cast<size_t>(hash);
  }
};

class Determiniser {
 public:
  Determiniser(const Nfa& nfa, size_t states_max, size_t work_max)
      : nfa_(nfa), states_max_(states_max), work_max_(work_max), seen_(nfa.nodes.size(), 0) {}

  // False: beyond its bounds.
  bool run(RuleAutomaton& out) {
    out.states.clear();
    intern(closure({0}), out);
    for (size_t i = 0; i < sets_.size(); ++i) {
      if (sets_.size() > states_max_ || work_ > work_max_) return false;
      expand(i, out);
    }
    return sets_.size() <= states_max_;
  }

  std::vector<uint32_t> closure(std::vector<uint32_t> from) {
    ++mark_;
    std::vector<uint32_t> stack = std::move(from), set;
    for (const uint32_t each : stack) seen_[each] = mark_;
    while (!stack.empty()) {
      const uint32_t at = stack.back();
      stack.pop_back();
      bool keeps = at == 1;
      for (const NfaEdge& edge : nfa_.nodes[at]) {
        ++work_;
        if (edge.kind != NfaEdge::Kind::empty) {
          keeps = true;
        } else if (seen_[edge.target] != mark_) {
          seen_[edge.target] = mark_;
          stack.push_back(edge.target);
        }
      }
      if (keeps) set.push_back(at);  // nodes with empty edges alone would only make equal sets look different
    }
    std::sort(set.begin(), set.end());
    return set;
  }

 private:
  uint32_t intern(std::vector<uint32_t> set, RuleAutomaton& out) {
    const auto [known, is_new] = ids_.try_emplace(std::move(set), static_cast<uint32_t>(sets_.size()));
    if (is_new) {
      sets_.push_back(&known->first);
      out.states.push_back({.accepting = std::binary_search(known->first.begin(), known->first.end(), 1u)});
    }
    return known->second;
  }

  uint32_t target(std::vector<uint32_t> nodes, RuleAutomaton& out) {
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    return intern(closure(std::move(nodes)), out);
  }

  void expand(size_t index, RuleAutomaton& out) {
    std::vector<const NfaEdge*> bytes;
    std::map<uint32_t, std::vector<uint32_t>> calls;
    std::map<std::pair<uint32_t, bool>, std::vector<uint32_t>> tokens;
    std::bitset<257> bounds;
    for (const uint32_t node : *sets_[index]) {
      for (const NfaEdge& edge : nfa_.nodes[node]) {
        if (edge.kind == NfaEdge::Kind::bytes) {
          bytes.push_back(&edge);
          bounds[edge.first] = bounds[edge.last + size_t{1}] = true;
        } else if (edge.kind == NfaEdge::Kind::call) {
          calls[edge.value].push_back(edge.target);
        } else if (edge.kind == NfaEdge::Kind::token) {
          tokens[{edge.value, edge.negated}].push_back(edge.target);
        }
      }
    }
    for (size_t first = 0; first < 256 && !bytes.empty();) {
      size_t next = first + 1;
      while (next < 256 && !bounds[next]) ++next;
      std::vector<uint32_t> reached;
      for (const NfaEdge* edge : bytes) {
        if (edge->first <= first && first <= edge->last) reached.push_back(edge->target);
      }
      work_ += bytes.size();
      if (!reached.empty()) {
        const uint32_t to = target(std::move(reached), out);
        auto& edges = out.states[index].bytes;
        const uint8_t low = static_cast<uint8_t>(first), high = static_cast<uint8_t>(next - 1);
        if (!edges.empty() && edges.back().target == to && edges.back().last + 1 == low) {
          edges.back().last = high;
        } else {
          edges.push_back({low, high, to});
        }
      }
      first = next;
    }
    for (auto& [rule, reached] : calls) {
      const uint32_t to = target(std::move(reached), out);
      out.states[index].calls.push_back({rule, to});
    }
    for (auto& [token, reached] : tokens) {
      const uint32_t to = target(std::move(reached), out);
      out.states[index].tokens.push_back({static_cast<int32_t>(token.first), token.second, to});
    }
  }

  const Nfa& nfa_;
  size_t states_max_, work_max_, work_ = 0;
  std::vector<uint32_t> seen_;
  uint32_t mark_ = 0;
  std::unordered_map<std::vector<uint32_t>, uint32_t, SetHash> ids_;
  std::vector<const std::vector<uint32_t>*> sets_;
};

Result<RuleAutomaton> only_without_empty_edges(const Nfa& nfa, const CompileLimits& limits) {
  Determiniser closures(nfa, 0, 0);
  RuleAutomaton out;
  out.states.resize(nfa.nodes.size());
  size_t edges = 0;
  std::vector<bool> wanted(nfa.nodes.size());
  std::vector<uint32_t> stack = {0};
  wanted[0] = true;
  while (!stack.empty()) {
    const uint32_t at = stack.back();
    stack.pop_back();
    RuleAutomaton::State& state = out.states[at];
    for (const uint32_t node : closures.closure({at})) {
      if (node == 1) state.accepting = true;
      for (const NfaEdge& edge : nfa.nodes[node]) {
        if (edge.kind == NfaEdge::Kind::empty) continue;
        if (++edges > limits.edges_max) {
          return fail(
              ErrorCode::unsupported,
              "the grammar needs more than {} edges; use fewer or shorter repetitions of alternatives that begin "
              "alike",
              limits.edges_max);
        }
        if (edge.kind == NfaEdge::Kind::bytes) {
          state.bytes.push_back({edge.first, edge.last, edge.target});
        } else if (edge.kind == NfaEdge::Kind::call) {
          state.calls.push_back({edge.value, edge.target});
        } else {
          state.tokens.push_back({static_cast<int32_t>(edge.value), edge.negated, edge.target});
        }
        if (!wanted[edge.target]) {
          wanted[edge.target] = true;
          stack.push_back(edge.target);
        }
      }
    }
  }
  return out;
}

}  // namespace

Result<RuleAutomaton> without_empty_edges(const Nfa& nfa, const CompileLimits& limits) {
  constexpr size_t kWorkMax = 40'000'000;
  RuleAutomaton out;
  if (Determiniser(nfa, nfa.nodes.size() * 4 + 1000, kWorkMax).run(out)) return out;
  return only_without_empty_edges(nfa, limits);
}

}  // namespace moxie::grammar

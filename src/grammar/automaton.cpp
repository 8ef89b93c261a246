#include "grammar/automaton.h"

#include <algorithm>

#include "core/check.h"
#include "core/fail.h"
#include "grammar/nfa.h"

namespace moxie::grammar {

class AutomatonBuilder {
 public:
  AutomatonBuilder(const Grammar& grammar, const CompileLimits& limits)
      : limits_(limits), lowering_(grammar, limits), root_(grammar.root) {}

  Result<Automaton> build() {
    MOXIE_TRY_VOID(lower_all());
    const std::vector<bool> completed = reaches_end(true);
    if (!completed[out_.starts_[root_]]) {
      return fail(ErrorCode::invalid_argument,
                  "the grammar matches no text: rule '{}' can never be completed; give a recursive rule an alternative "
                  "that ends",
                  lowering_.rule_name(root_));
    }
    drop_dead_edges(completed);
    nullable_ = reaches_end(false);
    MOXIE_TRY_VOID(order_by_left_calls());
    find_follow();
    return std::move(out_);
  }

 private:
  static constexpr uint32_t kNoState = 0xFFFFFFFFu;

  // Rules that the root reaches, in the order in which they are met.
  Result<void> lower_all() {
    out_.root_ = root_;
    std::vector<RuleId> queue = {root_};
    const auto want = [&](RuleId rule) {
      if (out_.starts_.size() <= rule) out_.starts_.resize(rule + size_t{1}, kNoState);
      if (known_.size() <= rule) known_.resize(rule + size_t{1});
      if (known_[rule]) return;
      known_[rule] = true;
      queue.push_back(rule);
    };
    queue.clear();
    want(root_);
    for (size_t i = 0; i < queue.size(); ++i) {
      MOXIE_TRY(const Nfa nfa, lowering_.lower(queue[i]));
      MOXIE_TRY(const RuleAutomaton rule, without_empty_edges(nfa, limits_));
      MOXIE_TRY_VOID(add(queue[i], rule));
      for (const RuleAutomaton::State& state : rule.states) {
        for (const CallEdge& edge : state.calls) want(edge.rule);
      }
    }
    rules_ = std::move(queue);
    return {};
  }

  Result<void> add(RuleId id, const RuleAutomaton& rule) {
    const uint32_t base = static_cast<uint32_t>(out_.states_.size());
    out_.starts_[id] = base;
    if (base + rule.states.size() > limits_.states_max) {
      return fail(ErrorCode::unsupported,
                  "the grammar needs more than {} states (reached in rule '{}'); use fewer or shorter repetitions",
                  limits_.states_max, lowering_.rule_name(id));
    }
    for (const RuleAutomaton::State& from : rule.states) {
      Automaton::State state{.rule = id, .accepting = from.accepting};
      state.bytes_begin = size32(out_.byte_edges_);
      for (ByteEdge edge : from.bytes) out_.byte_edges_.push_back({edge.first, edge.last, edge.target + base});
      state.bytes_end = size32(out_.byte_edges_);
      state.calls_begin = size32(out_.call_edges_);
      for (CallEdge edge : from.calls) out_.call_edges_.push_back({edge.rule, edge.target + base});
      state.calls_end = size32(out_.call_edges_);
      state.tokens_begin = size32(out_.token_edges_);
      for (TokenEdge edge : from.tokens) out_.token_edges_.push_back({edge.token, edge.negated, edge.target + base});
      state.tokens_end = size32(out_.token_edges_);
      out_.states_.push_back(state);
    }
    if (out_.byte_edges_.size() + out_.call_edges_.size() > limits_.edges_max) {
      return fail(ErrorCode::unsupported,
                  "the grammar needs more than {} edges (reached in rule '{}'); use fewer or shorter repetitions",
                  limits_.edges_max, lowering_.rule_name(id));
    }
    return {};
  }

  template <typename T>
  static uint32_t size32(const std::vector<T>& list) {
    return static_cast<uint32_t>(list.size());
  }

  // From which states the end of their rule can be reached: by any text, or (through_text false) by none at all.
  std::vector<bool> reaches_end(bool through_text) const {
    struct Way {
      uint32_t from;
      RuleId rule;
      bool is_call;
    };
    const size_t count = out_.states_.size();
    std::vector<std::vector<Way>> ways(count);
    for (uint32_t id = 0; id < count; ++id) {
      const Automaton::State& state = out_.states_[id];
      if (through_text) {
        for (const ByteEdge& edge : out_.byte_edges(state)) ways[edge.target].push_back({id, 0, false});
        for (const TokenEdge& edge : out_.token_edges(state)) ways[edge.target].push_back({id, 0, false});
      }
      for (const CallEdge& edge : out_.call_edges(state)) ways[edge.target].push_back({id, edge.rule, true});
    }
    std::vector<bool> reached(count), rule_done(out_.starts_.size());
    std::vector<std::vector<uint32_t>> waiting(out_.starts_.size());
    std::vector<uint32_t> stack;
    const auto reach = [&](uint32_t id) {
      if (reached[id]) return;
      reached[id] = true;
      stack.push_back(id);
    };
    for (uint32_t id = 0; id < count; ++id) {
      if (out_.states_[id].accepting) reach(id);
    }
    while (!stack.empty()) {
      const uint32_t id = stack.back();
      stack.pop_back();
      for (const Way& way : ways[id]) {
        if (!way.is_call || rule_done[way.rule]) {
          reach(way.from);
        } else {
          waiting[way.rule].push_back(way.from);
        }
      }
      const RuleId rule = out_.states_[id].rule;
      if (id != out_.starts_[rule] || rule_done[rule]) continue;
      rule_done[rule] = true;
      for (const uint32_t from : waiting[rule]) reach(from);
    }
    return reached;
  }

  void drop_dead_edges(const std::vector<bool>& completed) {
    for (Automaton::State& state : out_.states_) {
      state.bytes_end = keep(out_.byte_edges_, state.bytes_begin, state.bytes_end,
                             [&](const ByteEdge& edge) { return completed[edge.target]; });
      state.tokens_end = keep(out_.token_edges_, state.tokens_begin, state.tokens_end,
                              [&](const TokenEdge& edge) { return completed[edge.target]; });
      state.calls_end = keep(out_.call_edges_, state.calls_begin, state.calls_end, [&](const CallEdge& edge) {
        return completed[edge.target] && completed[out_.starts_[edge.rule]];
      });
    }
  }

  template <typename Edge, typename Keep>
  static uint32_t keep(std::vector<Edge>& edges, uint32_t begin, uint32_t end, const Keep& wanted) {
    const auto first = edges.begin() + begin;
    return begin + static_cast<uint32_t>(
                       std::remove_if(first, edges.begin() + end, [&](const Edge& e) { return !wanted(e); }) - first);
  }

  bool nullable(RuleId rule) const { return nullable_[out_.starts_[rule]]; }

  // Calls `visit` for every state that is reached from `from` without taking any text, `from` included.
  template <typename Visit>
  void each_at_once(uint32_t from, const Visit& visit) const {
    std::vector<uint32_t> stack = {from}, seen = {from};
    while (!stack.empty()) {
      const uint32_t id = stack.back();
      stack.pop_back();
      visit(out_.states_[id]);
      for (const CallEdge& edge : out_.call_edges(out_.states_[id])) {
        if (!nullable(edge.rule) || std::find(seen.begin(), seen.end(), edge.target) != seen.end()) continue;
        seen.push_back(edge.target);
        stack.push_back(edge.target);
      }
    }
  }

  // Rules so ordered that each comes after those it may begin with. Error: a rule that may begin with itself.
  Result<void> order_by_left_calls() {
    std::vector<std::vector<RuleId>> begins(out_.starts_.size());
    for (const RuleId rule : rules_) {
      each_at_once(out_.starts_[rule], [&](const Automaton::State& state) {
        for (const CallEdge& edge : out_.call_edges(state)) begins[rule].push_back(edge.rule);
      });
    }
    enum : uint8_t { fresh, open, done };
    std::vector<uint8_t> marks(out_.starts_.size(), fresh);
    for (const RuleId root : rules_) {
      if (marks[root] != fresh) continue;
      std::vector<std::pair<RuleId, size_t>> path = {{root, 0}};
      marks[root] = open;
      while (!path.empty()) {
        auto& [rule, next] = path.back();
        if (next == begins[rule].size()) {
          marks[rule] = done;
          order_.push_back(rule);
          path.pop_back();
          continue;
        }
        const RuleId to = begins[rule][next++];
        if (marks[to] == open) return left_recursion(path, to);
        if (marks[to] != fresh) continue;
        marks[to] = open;
        path.emplace_back(to, 0);
      }
    }
    return {};
  }

  Error left_recursion(const std::vector<std::pair<RuleId, size_t>>& path, RuleId to) const {
    std::string names;
    bool within = false;
    int listed = 0;
    for (const auto& [rule, next] : path) {
      within = within || rule == to;
      if (within && ++listed <= 8) names += lowering_.rule_name(rule) + " -> ";
      if (within && listed == 9) names += "... -> ";
    }
    return fail(ErrorCode::invalid_argument,
                "the grammar is left-recursive: {}{}; write the rule so that it begins with something else, or as a "
                "repetition: item (\",\" item)*",
                names, lowering_.rule_name(to));
  }

  void find_follow() {
    std::vector<ByteSet> first(out_.starts_.size());
    const auto add_first = [&](uint32_t from, ByteSet& set) {
      each_at_once(from, [&](const Automaton::State& state) {
        for (const ByteEdge& edge : out_.byte_edges(state)) {
          for (size_t byte = edge.first; byte <= edge.last; ++byte) set.set(byte);
        }
        for (const CallEdge& edge : out_.call_edges(state)) set |= first[edge.rule];
      });
    };
    for (const RuleId rule : order_) add_first(out_.starts_[rule], first[rule]);

    out_.follow_.resize(out_.starts_.size());
    std::vector<std::vector<RuleId>> gives(out_.starts_.size());  // what follows a rule also follows these
    for (const Automaton::State& state : out_.states_) {
      for (const CallEdge& edge : out_.call_edges(state)) {
        add_first(edge.target, out_.follow_[edge.rule]);
        if (nullable_[edge.target]) gives[state.rule].push_back(edge.rule);
      }
    }
    std::vector<RuleId> stack = rules_;
    while (!stack.empty()) {
      const RuleId rule = stack.back();
      stack.pop_back();
      for (const RuleId to : gives[rule]) {
        const ByteSet both = out_.follow_[to] | out_.follow_[rule];
        if (both == out_.follow_[to]) continue;
        out_.follow_[to] = both;
        stack.push_back(to);
      }
    }
  }

  const CompileLimits& limits_;
  Lowering lowering_;
  RuleId root_;
  Automaton out_;
  std::vector<RuleId> rules_, order_;
  std::vector<bool> known_, nullable_;
};

Result<Automaton> Automaton::compile(const Grammar& grammar, const CompileLimits& limits) {
  MOXIE_CHECK(grammar.root < grammar.rules.size());
  return AutomatonBuilder(grammar, limits).build();
}

}  // namespace moxie::grammar

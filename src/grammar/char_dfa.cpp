#include "grammar/char_dfa.h"

#include <algorithm>
#include <map>

#include "core/check.h"
#include "core/fail.h"

namespace moxie::grammar {

CharDfa CharDfa::anything() {
  CharDfa out;
  out.states[0].accepting = true;
  for (const CharRange range : any_char()) out.states[0].edges.push_back({range.first, range.last, 0});
  return out;
}

CharDfa CharDfa::words(std::span<const std::string> words) {
  std::vector<std::map<uint32_t, uint32_t>> edges(1);
  std::vector<bool> ends(1);
  for (const std::string& word : words) {
    uint32_t at = 0;
    for (size_t i = 0; i < word.size();) {
      uint32_t c = 0;
      MOXIE_CHECK(next_utf8(word, i, c));
      const auto [known, is_new] = edges[at].try_emplace(c, static_cast<uint32_t>(edges.size()));
      at = known->second;
      if (!is_new) continue;
      edges.emplace_back();
      ends.push_back(false);
    }
    ends[at] = true;
  }
  CharDfa out;
  out.states.resize(edges.size());
  for (size_t i = 0; i < edges.size(); ++i) {
    out.states[i].accepting = ends[i];
    for (const auto& [c, target] : edges[i]) out.states[i].edges.push_back({c, c, target});
  }
  return out;
}

Result<CharDfa> CharDfa::length(uint32_t min, uint32_t max) {
  const uint32_t last = max == kUnbounded ? min : max;
  if (last >= kStatesMax) {
    return fail(ErrorCode::unsupported,
                "a length of {} together with a pattern or other keys takes more than {} states; lower the length or "
                "leave it out",
                last, kStatesMax);
  }
  CharDfa out;
  if (max < min) return out;
  out.states.resize(last + size_t{1});
  for (uint32_t i = 0; i <= last; ++i) {
    out.states[i].accepting = i >= min;
    if (i == last && max != kUnbounded) break;
    for (const CharRange range : any_char()) {
      out.states[i].edges.push_back({range.first, range.last, std::min(i + 1, last)});
    }
  }
  return out;
}

template <typename Accept>
Result<CharDfa> CharDfa::product(const CharDfa& a, const CharDfa& b, const Accept& accept) {
  constexpr uint32_t kNone = 0xFFFFFFFFu;
  using Pair = std::pair<uint32_t, uint32_t>;
  CharDfa out;
  std::map<Pair, uint32_t> ids = {{{0, 0}, 0}};
  std::vector<Pair> pairs = {{0, 0}};
  for (uint32_t i = 0; i < pairs.size(); ++i) {
    const auto [left, right] = pairs[i];
    out.states[i].accepting =
        accept(left != kNone && a.states[left].accepting, right != kNone && b.states[right].accepting);
    const std::vector<Edge> none;
    const auto& x = left == kNone ? none : a.states[left].edges;
    const auto& y = right == kNone ? none : b.states[right].edges;
    for (size_t p = 0, q = 0; p < x.size() || q < y.size();) {
      // The next stretch of characters over which both sides stay the same.
      const auto clip = [&](const Edge& e, uint32_t from) { return std::max(e.first, from); };
      const uint32_t from = out.states[i].edges.empty() ? 0 : out.states[i].edges.back().last + 1;
      const uint32_t xf = p < x.size() ? clip(x[p], from) : kNone;
      const uint32_t yf = q < y.size() ? clip(y[q], from) : kNone;
      const uint32_t first = std::min(xf, yf);
      uint32_t last = kNone;
      const bool in_x = xf == first, in_y = yf == first;
      if (in_x) last = std::min(last, x[p].last);
      if (in_y) last = std::min(last, y[q].last);
      if (!in_x && xf != kNone) last = std::min(last, xf - 1);
      if (!in_y && yf != kNone) last = std::min(last, yf - 1);
      const Pair to = {in_x ? x[p].target : kNone, in_y ? y[q].target : kNone};
      const auto [known, is_new] = ids.try_emplace(to, static_cast<uint32_t>(pairs.size()));
      if (is_new) {
        if (pairs.size() >= kStatesMax) {
          return fail(ErrorCode::unsupported,
                      "patterns and lengths that hold together take more than {} states; use fewer or simpler ones",
                      kStatesMax);
        }
        pairs.push_back(to);
        out.states.emplace_back();
      }
      out.states[i].edges.push_back({first, last, known->second});
      if (p < x.size() && x[p].last <= last) ++p;
      if (q < y.size() && y[q].last <= last) ++q;
    }
  }
  out.trim();
  return out;
}

Result<CharDfa> CharDfa::both(const CharDfa& a, const CharDfa& b) {
  return product(a, b, [](bool x, bool y) { return x && y; });
}
Result<CharDfa> CharDfa::either(const CharDfa& a, const CharDfa& b) {
  return product(a, b, [](bool x, bool y) { return x || y; });
}
Result<CharDfa> CharDfa::without(const CharDfa& a, const CharDfa& b) {
  return product(a, b, [](bool x, bool y) { return x && !y; });
}

bool CharDfa::accepts(std::string_view text) const {
  uint32_t state = 0;
  for (size_t at = 0; at < text.size();) {
    uint32_t c = 0;
    if (!next_utf8(text, at, c)) return false;
    const auto& edges = states[state].edges;
    const auto after = std::upper_bound(edges.begin(), edges.end(), c,
                                        [](uint32_t value, const Edge& edge) { return value < edge.first; });
    if (after == edges.begin() || std::prev(after)->last < c) return false;
    state = std::prev(after)->target;
  }
  return states[state].accepting;
}

void CharDfa::trim() {
  const size_t count = states.size();
  std::vector<std::vector<uint32_t>> before(count);
  for (uint32_t i = 0; i < count; ++i) {
    for (const Edge& edge : states[i].edges) before[edge.target].push_back(i);
  }
  std::vector<bool> completes(count);
  std::vector<uint32_t> stack;
  for (uint32_t i = 0; i < count; ++i) {
    if (!states[i].accepting) continue;
    completes[i] = true;
    stack.push_back(i);
  }
  while (!stack.empty()) {
    const uint32_t at = stack.back();
    stack.pop_back();
    for (const uint32_t from : before[at]) {
      if (completes[from]) continue;
      completes[from] = true;
      stack.push_back(from);
    }
  }
  std::vector<uint32_t> names(count, 0);
  std::vector<State> kept(1);
  std::vector<uint32_t> order = {0};
  std::vector<bool> seen(count);
  seen[0] = true;
  for (size_t i = 0; i < order.size(); ++i) {
    State state{.accepting = states[order[i]].accepting};
    for (Edge edge : states[order[i]].edges) {
      if (!completes[edge.target]) continue;
      if (!seen[edge.target]) {
        seen[edge.target] = true;
        names[edge.target] = static_cast<uint32_t>(order.size());
        order.push_back(edge.target);
      }
      edge.target = names[edge.target];
      if (!state.edges.empty() && state.edges.back().target == edge.target &&
          state.edges.back().last + 1 == edge.first) {
        state.edges.back().last = edge.last;
      } else {
        state.edges.push_back(edge);
      }
    }
    if (i == 0) {
      kept[0] = std::move(state);
    } else {
      kept.push_back(std::move(state));
    }
  }
  states = std::move(kept);
}

template <typename Label>
ExpressionId CharDfa::to_graph(Grammar& grammar, const Label& label) const {
  std::vector<GraphEdge> edges;
  const auto node = [](uint32_t state) { return state == 0 ? 0u : state + 1; };  // 1 is the end
  for (uint32_t i = 0; i < states.size(); ++i) {
    if (states[i].accepting) edges.push_back({node(i), 1, kNothing});
    std::map<uint32_t, CharSet> sets;
    for (const Edge& edge : states[i].edges) sets[edge.target].push_back({edge.first, edge.last});
    for (auto& [target, set] : sets) edges.push_back({node(i), node(target), label(tidy(std::move(set)))});
  }
  return grammar.graph(static_cast<uint32_t>(states.size()) + 1, std::move(edges));
}

ExpressionId CharDfa::to_text(Grammar& grammar) const {
  return to_graph(grammar, [&](CharSet set) { return grammar.chars(std::move(set)); });
}

ExpressionId CharDfa::to_json(Grammar& grammar) const {
  return to_graph(grammar, [&](const CharSet& set) { return json_char(grammar, set); });
}

ExpressionId json_char(Grammar& grammar, const CharSet& set) {
  static const CharSet plain = complement(tidy({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}));
  std::vector<ExpressionId> parts;
  CharSet itself = intersect(set, plain);
  if (!itself.empty()) parts.push_back(grammar.chars(std::move(itself)));
  for (const CharRange range : intersect(set, complement(plain))) {
    for (uint32_t c = range.first; c <= range.last; ++c) {
      constexpr std::string_view kShort = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
      const size_t known = kShort.find(static_cast<char>(c));
      parts.push_back(grammar.literal(known == std::string_view::npos ? fmt::format("\\u{:04x}", c)
                                                                      : fmt::format("\\{}", kLetters[known])));
    }
  }
  return grammar.choice(std::move(parts));
}

}  // namespace moxie::grammar

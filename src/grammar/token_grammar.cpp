#include "grammar/token_grammar.h"

#include <algorithm>

#include "core/check.h"

namespace moxie::grammar {
namespace {

constexpr size_t kMaskBytesMax = size_t{64} << 20;    // of one grammar
constexpr size_t kSharedSetsMax = size_t{32} << 20;   // bytes of positions while masks are made
constexpr size_t kMatcherSetsMax = size_t{16} << 20;  // of one sequence
constexpr size_t kMatcherMasksMax = 256;
constexpr size_t kHistoryKept = 64;  // steps that can still be taken back when working memory is cleared

size_t words_for(int32_t vocabulary) {
  return (static_cast<size_t>(vocabulary) + 63) / 64;
}

void set_bit(std::vector<uint64_t>& words, int32_t id) {
  words[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

}  // namespace

std::shared_ptr<const TokenGrammar::Mask> TokenGrammar::mask(uint32_t state) const {
  const std::lock_guard lock(mutex_);
  if (masks_[state]) return masks_[state];
  if (mask_bytes_ > kMaskBytesMax) {  // begin anew: what is wanted now is soon there again
    std::fill(masks_.begin(), masks_.end(), nullptr);
    mask_bytes_ = 0;
  }
  if (sets_.bytes() > kSharedSetsMax) sets_ = StateSets(automaton_);
  masks_[state] = compute(state);
  mask_bytes_ += masks_[state]->bytes();
  return masks_[state];
}

std::shared_ptr<const TokenGrammar::Mask> TokenGrammar::compute(uint32_t state) const {
  auto mask = std::make_shared<Mask>();
  const ByteSet& follow = automaton_.follow(automaton_.state(state).rule);
  struct Level {
    SetId set;
    bool beyond;  // the rule may have ended on the way here, and what follows may fit what its caller wants
  };
  std::vector<Level> levels(trie_->depth_max() + 1);
  levels[0] = {sets_.only(state), false};
  for (uint32_t i = 1; i < trie_->node_count();) {
    const TokenTrie::Node& node = trie_->node(i);
    const Level parent = levels[node.depth - 1];
    const bool beyond = parent.beyond || (sets_.ends(parent.set) && follow[node.byte]);
    const SetId next = sets_.step(parent.set, node.byte);
    if (next == StateSets::kDead) {
      if (beyond) mask->beyond.push_back(i);
      i = node.skip;
      continue;
    }
    const auto tokens = trie_->tokens(i);
    mask->ids.insert(mask->ids.end(), tokens.begin(), tokens.end());
    levels[node.depth] = {next, beyond};
    ++i;
  }
  const size_t words = words_for(trie_->vocabulary_size());
  if (mask->ids.size() > words * 2) {
    mask->words.resize(words);
    for (const int32_t id : mask->ids) set_bit(mask->words, id);
    mask->ids = {};
  } else {
    std::sort(mask->ids.begin(), mask->ids.end());
    mask->ids.shrink_to_fit();
  }
  return mask;
}

GrammarMatcher::GrammarMatcher(std::shared_ptr<const TokenGrammar> grammar)
    : grammar_(std::move(grammar)), path_(grammar_->trie().depth_max() + 1) {
  reset();
}

void GrammarMatcher::reset() {
  sets_ = std::make_shared<StateSets>(grammar_->automaton());
  masks_.clear();
  history_ = {sets_->start()};
  MOXIE_CHECK(history_[0] != StateSets::kDead);  // compile() refuses grammars that match nothing
}

std::span<const uint64_t> GrammarMatcher::allowed() {
  const SetId set = history_.back();
  auto& known = masks_[set];
  if (!known) {
    auto words = std::make_shared<Words>(words_for(grammar_->trie().vocabulary_size()));
    compute_allowed(set, *words);
    if (masks_.size() > kMatcherMasksMax) masks_.clear();
    current_ = std::move(words);
    masks_[set] = current_;
  } else {
    current_ = known;
  }
  return *current_;
}

void GrammarMatcher::compute_allowed(SetId set, Words& words) {
  const auto positions = sets_->positions(set);
  const std::vector<StateSets::Position> list(positions.begin(), positions.end());  // testing makes new sets
  const Automaton& automaton = grammar_->automaton();
  const TokenTrie& trie = grammar_->trie();
  std::vector<uint32_t> beyond;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0 && list[i].state == list[i - 1].state) continue;  // the same state through other callers
    const auto mask = grammar_->mask(list[i].state);
    for (size_t w = 0; w < mask->words.size(); ++w) words[w] |= mask->words[w];
    for (const int32_t id : mask->ids) set_bit(words, id);
    beyond.insert(beyond.end(), mask->beyond.begin(), mask->beyond.end());
    for (const TokenEdge& edge : automaton.token_edges(automaton.state(list[i].state))) {
      if (!edge.negated) {
        if (edge.token < trie.vocabulary_size() && !trie.is_end(edge.token)) set_bit(words, edge.token);
        continue;
      }
      for (int32_t id = 0; id < trie.vocabulary_size(); ++id) {
        if (id != edge.token && !trie.is_end(id)) set_bit(words, id);
      }
    }
  }
  std::sort(beyond.begin(), beyond.end());
  uint32_t tested = 0;
  for (const uint32_t root : beyond) {
    if (root < tested) continue;  // below one that was tested
    test_subtree(root, set, words);
    tested = trie.node(root).skip;
  }
}

void GrammarMatcher::test_subtree(uint32_t root, SetId set, Words& words) {
  const TokenTrie& trie = grammar_->trie();
  const std::string_view path = trie.path(root);
  path_[0] = set;
  for (size_t depth = 0; depth + 1 < path.size(); ++depth) {
    path_[depth + 1] = sets_->step(path_[depth], static_cast<uint8_t>(path[depth]));
    if (path_[depth + 1] == StateSets::kDead) return;
  }
  const uint32_t end = trie.node(root).skip;
  for (uint32_t i = root; i < end;) {
    const TokenTrie::Node& node = trie.node(i);
    const SetId next = sets_->step(path_[node.depth - 1], node.byte);
    if (next == StateSets::kDead) {
      i = node.skip;
      continue;
    }
    for (const int32_t id : trie.tokens(i)) set_bit(words, id);
    path_[node.depth] = next;
    ++i;
  }
}

bool GrammarMatcher::none_allowed() {
  const auto words = allowed();
  return std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; });
}

bool GrammarMatcher::must_end() {
  return can_end() && none_allowed();
}

void GrammarMatcher::advance(SetId set) {
  history_.push_back(set);
  if (sets_->bytes() <= kMatcherSetsMax) return;
  if (history_.size() > kHistoryKept) {
    history_.erase(history_.begin(), history_.end() - static_cast<std::ptrdiff_t>(kHistoryKept));
  }
  auto fresh = std::make_shared<StateSets>(grammar_->automaton());
  for (SetId& each : history_) each = fresh->adopt(*sets_, each);
  sets_ = std::move(fresh);
  masks_.clear();
}

bool GrammarMatcher::accept(int32_t id) {
  const TokenTrie& trie = grammar_->trie();
  if (id < 0 || id >= trie.vocabulary_size() || trie.is_end(id)) return false;
  const std::string_view text = trie.text(id);
  const SetId next = sets_->accept(history_.back(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, id);
  if (next == StateSets::kDead) return false;
  advance(next);
  return true;
}

bool GrammarMatcher::accept_text(std::string_view text) {
  SetId set = history_.back();
  for (const char c : text) set = sets_->step(set, static_cast<uint8_t>(c));
  if (set == StateSets::kDead) return false;
  advance(set);
  return true;
}

}  // namespace moxie::grammar

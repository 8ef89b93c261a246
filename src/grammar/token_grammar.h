// Which tokens may come next under a grammar.
//
// For each state of the grammar's automaton the tokens are sorted once into those that fit whatever the callers are,
// those that cannot fit, and those that reach beyond the state's rule; only the last are tested against the text so far
// (the split that XGrammar published). They are kept as subtrees of the vocabulary's tree.
//
// TokenGrammar is thread-safe and shared by all sequences under the grammar; a GrammarMatcher is one sequence's.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/state_sets.h"
#include "grammar/token_trie.h"

namespace moxie::grammar {

class TokenGrammar {
 public:
  struct Mask {
    std::vector<uint64_t> words;   // a bit a token; empty where `ids` is shorter
    std::vector<int32_t> ids;      // ascending
    std::vector<uint32_t> beyond;  // roots of subtrees of the trie whose tokens have to be tested
    size_t bytes() const { return sizeof(Mask) + words.size() * 8 + ids.size() * 4 + beyond.size() * 4; }
  };

  TokenGrammar(Automaton automaton, std::shared_ptr<const TokenTrie> trie)
      : automaton_(std::move(automaton)), trie_(std::move(trie)), masks_(automaton_.state_count()), sets_(automaton_) {}
  TokenGrammar(const TokenGrammar&) = delete;  // the sets refer to the automaton

  const Automaton& automaton() const { return automaton_; }
  const TokenTrie& trie() const { return *trie_; }
  std::shared_ptr<const Mask> mask(uint32_t state) const;

 private:
  std::shared_ptr<const Mask> compute(uint32_t state) const;

  const Automaton automaton_;
  const std::shared_ptr<const TokenTrie> trie_;
  mutable std::mutex mutex_;  // of what follows
  mutable std::vector<std::shared_ptr<const Mask>> masks_;
  mutable size_t mask_bytes_ = 0;
  mutable StateSets sets_;
};

// How far one sequence's text is in a grammar. Copies are independent but share working memory: use them on one thread
// at a time.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(std::shared_ptr<const TokenGrammar> grammar);

  // A bit per token of the vocabulary: those that may come next. Ends are not among them. Valid until the next call.
  std::span<const uint64_t> allowed();
  bool allows(int32_t id) { return (allowed()[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0; }
  // The text may end here.
  bool can_end() const { return sets_->ends(history_.back()); }
  // It may end here, and no token may follow.
  bool must_end();
  // Nothing is possible: no token of this vocabulary spells what the grammar wants next.
  bool stuck() { return !can_end() && none_allowed(); }
  // False: the token does not fit, and nothing changes.
  bool accept(int32_t id);
  bool accept_text(std::string_view text);  // the same for bytes; counts as one step
  // Takes the last `steps` accepted ones back. REQUIRES: steps <= steps().
  void rollback(size_t steps) { history_.resize(history_.size() - steps); }
  // Accepted ones that can be taken back; all of them, but for very long texts.
  size_t steps() const { return history_.size() - 1; }
  void reset();
  bool gave_up() const { return sets_->gave_up(); }

 private:
  using Words = std::vector<uint64_t>;
  bool none_allowed();
  void advance(SetId set);
  void compute_allowed(SetId set, Words& words);
  void test_subtree(uint32_t root, SetId set, Words& words);

  std::shared_ptr<const TokenGrammar> grammar_;
  std::shared_ptr<StateSets> sets_;
  std::vector<SetId> history_;
  std::unordered_map<SetId, std::shared_ptr<const Words>> masks_;
  std::shared_ptr<const Words> current_;  // keeps what allowed() gave alive
  std::vector<SetId> path_;               // sets along a path of the trie
};

}  // namespace moxie::grammar

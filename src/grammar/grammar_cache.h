// Grammars by their text, compiled once for a vocabulary: requests with the same schema share their token masks.
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "grammar/gbnf.h"
#include "grammar/token_grammar.h"
#include "moxie/error.h"

namespace moxie::grammar {

enum class GrammarKind : uint8_t { gbnf, json_schema, regex, structure };

// Errors name line and column, or the place in the schema.
Result<Automaton> compile_grammar(GrammarKind kind, std::string_view text, const FindToken& find_token = {});

class GrammarCache {
 public:
  // make_trie is called once, when the first grammar is wanted.
  GrammarCache(std::function<std::shared_ptr<const TokenTrie>()> make_trie, FindToken find_token)
      : make_trie_(std::move(make_trie)), find_token_(std::move(find_token)) {}

  Result<std::shared_ptr<const TokenGrammar>> get(GrammarKind kind, std::string_view text);

 private:
  struct Entry {
    GrammarKind kind;
    std::string text;
    std::shared_ptr<const TokenGrammar> grammar;
  };

  const std::function<std::shared_ptr<const TokenTrie>()> make_trie_;
  const FindToken find_token_;
  std::mutex mutex_;
  std::shared_ptr<const TokenTrie> trie_;
  std::list<Entry> entries_;  // latest use first
};

}  // namespace moxie::grammar

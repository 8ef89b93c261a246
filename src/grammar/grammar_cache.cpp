#include "grammar/grammar_cache.h"

#include "core/fail.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"
#include "grammar/structure.h"

namespace moxie::grammar {
namespace {

constexpr size_t kEntriesMax = 16;

Result<Grammar> parse(GrammarKind kind, std::string_view text, const FindToken& find_token) {
  switch (kind) {
    case GrammarKind::gbnf:
      return parse_gbnf(text, find_token);
    case GrammarKind::json_schema: {
      MOXIE_TRY(SchemaGrammar schema, parse_json_schema(text));
      return std::move(schema.grammar);
    }
    case GrammarKind::regex: {
      MOXIE_TRY(const CharDfa dfa, compile_regex(text, RegexMatch::whole));
      Grammar grammar;
      grammar.add_rule("pattern", dfa.to_text(grammar));
      return grammar;
    }
    case GrammarKind::structure:
      return parse_structure(text, find_token);
  }
  return fail(ErrorCode::internal, "no such kind of grammar");
}

}  // namespace

Result<Automaton> compile_grammar(GrammarKind kind, std::string_view text, const FindToken& find_token) {
  MOXIE_TRY(const Grammar grammar, parse(kind, text, find_token));
  return Automaton::compile(grammar);
}

Result<std::shared_ptr<const TokenGrammar>> GrammarCache::get(GrammarKind kind, std::string_view text) {
  const std::lock_guard lock(mutex_);
  for (auto each = entries_.begin(); each != entries_.end(); ++each) {
    if (each->kind != kind || each->text != text) continue;
    entries_.splice(entries_.begin(), entries_, each);
    return each->grammar;
  }
  MOXIE_TRY(Automaton automaton, compile_grammar(kind, text, find_token_));
  if (!trie_) trie_ = make_trie_();
  entries_.push_front({kind, std::string(text), std::make_shared<const TokenGrammar>(std::move(automaton), trie_)});
  if (entries_.size() > kEntriesMax) entries_.pop_back();
  return entries_.front().grammar;
}

}  // namespace moxie::grammar

#include "grammar/token_grammar.h"

#include <gtest/gtest.h>

#include <random>

#include "grammar/gbnf.h"
#include "grammar/grammar_testing.h"

namespace moxie::grammar {
namespace {

constexpr const char* kJson = R"GBNF(root ::= value
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (member ("," ws member)*)? "}" ws
member ::= string ":" ws value
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)? ws
ws ::= [ \t\n]{0,8})GBNF";

// All bytes, and random strings of characters that grammars here take.
std::vector<std::string> vocabulary(size_t size) {
  std::vector<std::string> texts = {"", "</s>"};
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  std::mt19937 random(7);
  const std::string letters = "{}[]\",:0123456789.-+eE \n\\abtrufalsn\xC3\xA9";
  while (texts.size() < size) {
    std::string text;
    for (size_t length = 2 + random() % 5; text.size() < length;) text += letters[random() % letters.size()];
    texts.push_back(text);
  }
  return texts;
}

std::shared_ptr<const TokenGrammar> compiled(const std::string& gbnf, const std::vector<std::string>& texts) {
  const int32_t ends[] = {1};
  auto automaton = Automaton::compile(*parse_gbnf(gbnf));
  EXPECT_TRUE(automaton.ok());
  return std::make_shared<const TokenGrammar>(std::move(*automaton), std::make_shared<const TokenTrie>(texts, ends));
}

TEST(TokenTrie, WalkVisitsEveryTokenOnce) {
  const auto texts = vocabulary(2000);
  const int32_t ends[] = {1};
  const TokenTrie trie(texts, ends);
  std::vector<int> seen(texts.size());
  for (size_t i = 0; i < trie.node_count(); ++i) {
    for (const int32_t id : trie.tokens(i)) {
      ++seen[static_cast<size_t>(id)];
      EXPECT_EQ(trie.path(i), texts[static_cast<size_t>(id)]);
    }
  }
  for (size_t id = 0; id < texts.size(); ++id) EXPECT_EQ(seen[id], id < 2 ? 0 : 1);
}

// The masks against the plain definition: a token is allowed if its bytes step by step are.
TEST(TokenGrammar, MasksAreWhatSteppingSays) {
  const auto texts = vocabulary(3000);
  const std::string grammars[] = {
      kJson,
      R"(root ::= "a" root "b" | "a" root "c" | "")",
      R"(root ::= [ab]* "a" [ab]{12} | "{" .{0,300} "}")",
      "root ::= (item \",\"?){0,2000}\nitem ::= [a-f]{1,3} | \"é\"",
  };
  std::mt19937 random(3);
  for (const std::string& text : grammars) {
    const auto grammar = compiled(text, texts);
    for (int run = 0; run < 4; ++run) {
      GrammarMatcher matcher(grammar);
      StateSets sets(grammar->automaton());
      SetId set = sets.start();
      for (int step = 0; step < 40; ++step) {
        const auto words = matcher.allowed();
        std::vector<int32_t> allowed;
        for (size_t id = 0; id < texts.size(); ++id) {
          SetId after = texts[id].empty() || id == 1 ? StateSets::kDead : set;
          for (const char c : texts[id]) after = sets.step(after, static_cast<uint8_t>(c));
          const bool bit = (words[id / 64] >> (id % 64) & 1) != 0;
          ASSERT_EQ(bit, after != StateSets::kDead) << text << "\ntoken '" << texts[id] << "' at step " << step;
          if (bit) allowed.push_back(static_cast<int32_t>(id));
        }
        ASSERT_EQ(matcher.can_end(), sets.ends(set));
        if (allowed.empty()) {
          EXPECT_TRUE(matcher.must_end());
          break;
        }
        const int32_t id = allowed[random() % allowed.size()];
        ASSERT_TRUE(matcher.accept(id));
        for (const char c : texts[static_cast<size_t>(id)]) set = sets.step(set, static_cast<uint8_t>(c));
      }
    }
  }
}

TEST(TokenGrammar, RollsBackAndCopies) {
  const auto texts = vocabulary(1000);
  GrammarMatcher matcher(compiled(kJson, texts));
  ASSERT_TRUE(matcher.accept_text("{\"a\":"));
  const std::vector<uint64_t> before(matcher.allowed().begin(), matcher.allowed().end());
  GrammarMatcher copy = matcher;
  ASSERT_TRUE(matcher.accept_text("[1"));
  ASSERT_TRUE(matcher.accept_text(",2]"));
  EXPECT_FALSE(matcher.accept_text("]"));
  ASSERT_TRUE(matcher.accept_text("}"));
  EXPECT_TRUE(matcher.can_end());
  matcher.rollback(3);
  EXPECT_FALSE(matcher.can_end());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), matcher.allowed().begin()));
  ASSERT_TRUE(copy.accept_text("true}"));
  EXPECT_TRUE(copy.can_end());
  EXPECT_EQ(copy.steps(), 2u);
}

TEST(TokenGrammar, WholeTokens) {
  std::vector<std::string> texts = {"", "</s>", "a", "b", "ab", ""};
  GrammarMatcher matcher(compiled(R"(root ::= <[5]> "a"* !<[3]> "b")", texts));
  EXPECT_TRUE(matcher.allows(5));
  EXPECT_FALSE(matcher.allows(2));
  ASSERT_TRUE(matcher.accept(5));
  for (const int32_t id : {0, 2, 4, 5}) EXPECT_TRUE(matcher.allows(id)) << id;
  EXPECT_FALSE(matcher.allows(3));
  EXPECT_FALSE(matcher.allows(1));
  ASSERT_TRUE(matcher.accept(4));
  ASSERT_TRUE(matcher.accept(3));
  EXPECT_TRUE(matcher.must_end());
}

TEST(TokenGrammar, StuckWhereNoTokenSpellsWhatIsWanted) {
  GrammarMatcher matcher(compiled(R"(root ::= "ax")", {"", "</s>", "a"}));
  ASSERT_TRUE(matcher.accept(2));
  EXPECT_TRUE(matcher.stuck());
  EXPECT_FALSE(matcher.accept(1));
}

TEST(TokenGrammar, WorkingMemoryIsClearedAndTheTextGoesOn) {
  const auto texts = vocabulary(500);
  // Every place is its own: the sets grow until they are cleared.
  GrammarMatcher matcher(compiled("root ::= ([ab]* \"a\" [ab]{60})", texts));
  std::mt19937 random(5);
  std::string text;
  for (int i = 0; i < 60000; ++i) {
    const std::string piece(1, random() % 2 ? 'a' : 'b');
    ASSERT_TRUE(matcher.accept_text(piece));
    text += piece;
    if (text.size() > 61) {
      ASSERT_EQ(matcher.can_end(), text[text.size() - 61] == 'a') << i;
    }
  }
  EXPECT_LT(matcher.steps(), 60000u);
}

}  // namespace
}  // namespace moxie::grammar

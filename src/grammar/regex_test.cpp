#include "grammar/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <regex>

namespace moxie::grammar {
namespace {

using testing::HasSubstr;

bool matches(std::string_view pattern, std::string_view text, RegexMatch match) {
  const auto dfa = compile_regex(pattern, match);
  EXPECT_TRUE(dfa.ok()) << pattern << ": " << dfa.error().message;
  return dfa.ok() && dfa->accepts(text);
}

// The standard library's JavaScript expressions as the oracle, over every short text of a few letters.
TEST(Regex, AgreesWithTheStandardLibrary) {
  const char* patterns[] = {"a",
                            "^a",
                            "a$",
                            "^a$",
                            "^(a|b)*c?$",
                            "a{2,3}",
                            "^a{0,2}b+$",
                            "[^a]",
                            "^[a-b]+$",
                            "(^a|b$)",
                            "^a|^b",
                            "",
                            "^$",
                            "^(?:ab)+$",
                            "(a|ab)(c|bcd)*$",
                            "^.*b.$",
                            "a.c",
                            "^(a*)*$",
                            "^a??b*?$",
                            "\\x61[\\x62-c]",
                            "^((a|b){2}){1,2}$",
                            "($|a)b?",
                            "^\\w\\d?$",
                            "\\s",
                            "[\\d\\-a]b",
                            "^a(b|^c)"};
  const std::string letters = "abc1- ";
  std::vector<std::string> texts = {""};
  for (size_t i = 0; i < texts.size() && texts[i].size() < 5; ++i) {
    for (const char c : letters) texts.push_back(texts[i] + c);
  }
  for (const char* pattern : patterns) {
    const std::regex oracle(pattern);
    const auto anywhere = compile_regex(pattern, RegexMatch::anywhere);
    const auto whole = compile_regex(pattern, RegexMatch::whole);
    ASSERT_TRUE(anywhere.ok() && whole.ok()) << pattern;
    for (const std::string& text : texts) {
      ASSERT_EQ(anywhere->accepts(text), std::regex_search(text, oracle)) << pattern << " in '" << text << "'";
      ASSERT_EQ(whole->accepts(text), std::regex_match(text, oracle)) << pattern << " as '" << text << "'";
    }
  }
}

TEST(Regex, Unicode) {
  EXPECT_TRUE(matches("^[à-ÿ]{2}$", "éü", RegexMatch::anywhere));
  EXPECT_FALSE(matches("^[à-ÿ]{2}$", "é", RegexMatch::anywhere));
  EXPECT_TRUE(matches("\\u00e9\\u{1F600}\\uD83D\\uDE00", "é😀😀", RegexMatch::whole));
  EXPECT_TRUE(matches("^\\S$", "😀", RegexMatch::anywhere));
  EXPECT_FALSE(matches("^.$", "\n", RegexMatch::anywhere));
}

TEST(Regex, ErrorsNameColumnAndRemedy) {
  const std::pair<const char*, const char*> cases[] = {
      {"(a", "column 1: this '(' is not closed"},
      {"a)", "column 2: this ')' closes nothing"},
      {"[a", "this '[' is not closed"},
      {"*a", "nothing to repeat"},
      {"a**", "repeats a repetition"},
      {"(?=a)", "look-around"},
      {"(?<!a)b", "look-around"},
      {"(a)\\1", "back-references"},
      {"\\bword", "word boundaries"},
      {"\\p{L}", "Unicode properties"},
      {"(?i)a", "flags"},
      {"a{3,2}", "swap"},
      {"[z-a]", "backwards"},
      {"\\q", "no such escape"},
      {"a\\", "ends with"},
      {"\\u12", "hexadecimal digit"},
      {"a{200000}", "a count above"},
      {"(a|b)*a(a|b){30}", "states"},
      {"((a{1000}){1000}){1000}", "nodes"},
  };
  for (const auto& [pattern, message] : cases) {
    const auto dfa = compile_regex(pattern, RegexMatch::anywhere);
    ASSERT_FALSE(dfa.ok()) << pattern;
    EXPECT_THAT(dfa.error().message, HasSubstr(message)) << pattern;
  }
}

TEST(CharDfa, OperationsOfSets) {
  const auto a = compile_regex("^[ab]*$", RegexMatch::anywhere), b = compile_regex("^(..)*$", RegexMatch::anywhere);
  const auto both = CharDfa::both(*a, *b), either = CharDfa::either(*a, *b), without = CharDfa::without(*a, *b);
  for (const std::string text : {"", "a", "ab", "c", "cd", "abc", "abca", "bab"}) {
    const bool in_a = a->accepts(text), in_b = b->accepts(text);
    EXPECT_EQ(both->accepts(text), in_a && in_b) << text;
    EXPECT_EQ(either->accepts(text), in_a || in_b) << text;
    EXPECT_EQ(without->accepts(text), in_a && !in_b) << text;
  }
  EXPECT_TRUE(CharDfa::without(*a, *a)->empty());
  EXPECT_FALSE(CharDfa::length(0, 30000).ok());
}

}  // namespace
}  // namespace moxie::grammar

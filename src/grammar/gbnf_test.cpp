#include "grammar/gbnf.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grammar/grammar_testing.h"

namespace moxie::grammar {
namespace {

using testing::HasSubstr;

struct Case {
  const char* grammar;
  std::vector<std::string> yes, no;
};

TEST(Gbnf, EveryElement) {
  const Case cases[] = {
      {R"(root ::= "abc")", {"abc"}, {"", "ab", "abcd", "ABC"}},
      {R"(root ::= "")", {""}, {"a"}},
      {R"(root ::= [a-cx])", {"a", "b", "c", "x"}, {"", "d", "-", "aa"}},
      {R"(root ::= [a-])", {"a", "-"}, {"b"}},
      {R"(root ::= [^"\n]+)", {"abc", "é", "😀\t"}, {"", "a\"", "a\nb", "\x80", "\xC3"}},
      {R"(root ::= . .)", {"ab", "é\n", "😀😀"}, {"a", "abc", "\xC3\xA9"}},
      {R"(root ::= "a"? "b"* "c"+)", {"c", "ac", "abbbcc", "bc"}, {"", "a", "ab", "aac"}},
      {R"(root ::= "a"{3})", {"aaa"}, {"aa", "aaaa"}},
      {R"(root ::= "ab"{2,})", {"abab", "ababab"}, {"ab", "aba"}},
      {R"(root ::= "a"{1,3})", {"a", "aa", "aaa"}, {"", "aaaa"}},
      {R"(root ::= "a"{0,0} "b")", {"b"}, {"ab"}},
      {R"(root ::= ("a" | "b" "c")* "d")", {"d", "abcad"}, {"bd", "abc"}},
      {"root ::= x # one\nx ::= \"#\" | # two\n  \"b\"\n\n", {"#", "b"}, {"", "one"}},
      {"root ::= \"a\"\n  | \"b\"\n  | \"c\"", {"a", "b", "c"}, {"", "ab"}},
      {"root ::= (\n \"a\"\n \"b\" |\n \"c\" )", {"ab", "c"}, {"a", "abc"}},
      {"root ::= item-list\r\nitem-list ::= \"-\" | \"-\" item-list\r\n", {"-", "---"}, {"", "-a"}},
      {R"(root ::= "\x41\u00e9\U0001F600\n\t\"\\\[\]")", {"A\u00e9\U0001F600\n\t\"\\[]"}, {"A"}},
      {R"(root ::= [\x41-\x43\]\-\\])", {"A", "B", "C", "]", "-", "\\"}, {"D", "x"}},
      {R"(root ::= [ぁ-ゟ]+)", {"ひらがな"}, {"カタカナ", "a"}},
      {"root ::= a b\na ::= \"x\"?\nb ::= \"y\" a", {"y", "xy", "yx", "xyx"}, {"x", "xx"}},
  };
  for (const Case& each : cases) {
    ASSERT_EQ(gbnf_error(each.grammar), "") << each.grammar;
    for (const std::string& text : each.yes)
      EXPECT_TRUE(gbnf_accepts(each.grammar, text)) << each.grammar << " " << text;
    for (const std::string& text : each.no)
      EXPECT_FALSE(gbnf_accepts(each.grammar, text)) << each.grammar << " " << text;
  }
}

TEST(Gbnf, RecursionWithinRules) {
  const char* nested = R"(root ::= value
value ::= "[" (value ("," value)*)? "]" | [0-9]+)";
  EXPECT_TRUE(gbnf_accepts(nested, "[[],[1,[22,[]]],3]"));
  EXPECT_FALSE(gbnf_accepts(nested, "[[],[1,[22,[]],3]"));
  EXPECT_TRUE(gbnf_accepts(nested, std::string(1000, '[') + std::string(1000, ']')));
  EXPECT_FALSE(gbnf_accepts(nested, std::string(1000, '[') + std::string(999, ']')));
  // A rule that ends with itself costs no memory, however long the text.
  EXPECT_TRUE(gbnf_accepts("root ::= \"a\" root | \"b\"", std::string(100000, 'a') + "b"));
  // Both alternatives begin alike: 2^n readings, one at a time.
  const char* alike = R"(root ::= "a" root "b" | "a" root "c" | "")";
  EXPECT_TRUE(gbnf_accepts(alike, std::string(500, 'a') + std::string(250, 'b') + std::string(250, 'c')));
  EXPECT_FALSE(gbnf_accepts(alike, std::string(500, 'a') + std::string(499, 'b')));
}

TEST(Gbnf, LongRepetitionsAreExact) {
  for (const auto& [grammar, least, most] :
       std::vector<std::tuple<std::string, size_t, size_t>>{{"root ::= [a-zé]{100000}", 100000, 100000},
                                                            {"root ::= [a-zé]{0,70000}", 0, 70000},
                                                            {"root ::= [a-zé]{4999,5003}", 4999, 5003},
                                                            {"root ::= ([a-zé]{10,10}){3000,3001}", 30000, 30010}}) {
    ASSERT_EQ(gbnf_error(grammar), "");
    const auto automaton = Automaton::compile(*parse_gbnf(grammar));
    EXPECT_LT(automaton->state_count(), 20000u) << grammar;
    StateSets sets(*automaton);
    SetId set = sets.start();
    const size_t unit = grammar.find("{10,10}") == std::string::npos ? 1 : 10;
    for (size_t count = 0; count <= most + 1; ++count) {
      ASSERT_EQ(sets.ends(set), count >= least && count <= most && count % unit == 0) << grammar << " " << count;
      set = count % 3 == 0 ? sets.step(sets.step(set, 0xC3), 0xA9) : sets.step(set, 'q');
    }
    EXPECT_EQ(set, StateSets::kDead);
    EXPECT_FALSE(sets.gave_up());
  }
}

TEST(Gbnf, ErrorsNamePlaceAndRemedy) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no rule 'root'"},
      {"a ::= \"b\"", "no rule 'root'"},
      {"root ::= \"a\n", "line 1, column 10: this text is not closed"},
      {"root ::= x\n", "line 1, column 10: rule 'x' is not defined"},
      {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: rule 'root' is defined twice"},
      {"root ::= \"a\" )", "line 1, column 14: this ')' closes nothing"},
      {"root ::= ( \"a\"", "line 1, column 10: this '(' is not closed"},
      {"root ::= [a-", "not closed with ']'"},
      {"root ::= [z-a]", "line 1, column 11: the range goes backwards"},
      {"root ::= * \"a\"", "'*' has nothing to repeat"},
      {"root ::= \"a\"{3,2}", "a repetition of 3 to 2"},
      {"root ::= \"a\"{x}", "a repetition is written {3}"},
      {"root ::= \"a\"{99999999999}", "leave the upper bound out"},
      {"root ::= \"\\q\"", "no such escape"},
      {"root ::= \"\\uD800\"", "U+D800 is no character"},
      {"root ::= \"\\x4\"", "takes 2 hexadecimal digits"},
      {"root = \"a\"", "\"::=\" is expected after 'root'"},
      {"root ::= \"a\" ; \"b\"", "goes on with ';'"},
      {"?", "a rule's name is expected"},
      {"root ::= \"\xFF\"", "no UTF-8"},
      {"root ::= <think>", "no token '<think>'"},
      {"root ::= <[12x]>", "no token id"},
      {"root ::= root \"a\" | \"b\"", "left-recursive: root -> root"},
      {"root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= a \"y\" | \"z\"", "left-recursive: a -> c -> a"},
      {"root ::= \"a\" root", "matches no text: rule 'root' can never be completed"},
      {"root ::= a a a a a a a a a a\na ::= b b b b b b b b b b\nb ::= [^a]", ""},
  };
  for (const auto& [grammar, message] : cases) {
    if (*message == '\0') {
      EXPECT_EQ(gbnf_error(grammar), "");
    } else {
      EXPECT_THAT(gbnf_error(grammar), HasSubstr(message)) << grammar;
    }
  }
}

TEST(Gbnf, HostileGrammarsEndSoonWithAnError) {
  // Exponential when written out: 100^6 copies.
  std::string towers = "root ::= \"a\"";
  for (int i = 0; i < 4; ++i) towers += "{100}";
  EXPECT_EQ(gbnf_error(towers), "");
  EXPECT_THAT(gbnf_error("root ::= " + std::string(5000, '(') + "\"a\"" + std::string(5000, ')')),
              HasSubstr("nested more than 200 deep"));
  EXPECT_THAT(gbnf_error("root ::= \"" + std::string(3'000'000, 'a') + "\""), HasSubstr("nodes"));
  // Deterministic it would have 2^30 states.
  const std::string late = "root ::= [ab]* \"a\" [ab]{30}";
  EXPECT_TRUE(gbnf_accepts(late, "bbba" + std::string(30, 'b')));
  EXPECT_FALSE(gbnf_accepts(late, "bbbb" + std::string(30, 'b')));
  // A chain of many rules, each of which may be empty.
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 3000; ++i) chain += fmt::format("r{} ::= r{}? \"a\"?\n", i, i + 1);
  chain += "r3000 ::= \"b\"\n";
  EXPECT_EQ(gbnf_error(chain), "");
}

TEST(CharSets, Utf8RangesSpellEachCharacterOnce) {
  const CharSet set = tidy({{0x41, 0x7FF}, {0x900, 0x12345}, {0x10000, 0x10FFFF}});
  for (uint32_t c = 0; c <= kMaxChar; c += c < 0x3000 ? 1 : 97) {
    std::string text;
    append_utf8(text, c);
    int spelled = 0;
    for (const Utf8Ranges& ranges : utf8_ranges(set)) {
      bool fits = static_cast<size_t>(ranges.length) == text.size();
      for (size_t i = 0; fits && i < text.size(); ++i) {
        const uint8_t byte = static_cast<uint8_t>(text[i]);
        fits = ranges.bytes[i].first <= byte && byte <= ranges.bytes[i].last;
      }
      spelled += fits ? 1 : 0;
    }
    ASSERT_EQ(spelled, contains(set, c) ? 1 : 0) << c;
  }
  EXPECT_EQ(complement(complement(set)), set);
  EXPECT_TRUE(intersect(set, complement(set)).empty());
}

}  // namespace
}  // namespace moxie::grammar

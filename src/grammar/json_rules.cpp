#include "grammar/json_rules.h"

#include <algorithm>
#include <vector>

#include "grammar/char_set.h"
#include "grammar/schema_values.h"

namespace moxie::grammar {
namespace {

constexpr uint32_t kBlanksMax = 4;
constexpr uint32_t kIndentOfLevel = 4;
constexpr uint32_t kLevelsMax = 12;
constexpr uint32_t kEndlessIndent = 24;  // where there is no deepest level
constexpr uint32_t kEndless = 1000;      // more than a schema's text can be nested

// How deep lists and objects may lie in each other in what a rule matches: kEndless or more where a rule comes back to
// itself.
class Nesting {
 public:
  explicit Nesting(const Grammar& grammar) : grammar_(grammar), known_(grammar.rules.size(), kNew) {}

  uint32_t of_rule(RuleId rule) {
    if (known_[rule] == kInside || calls_ >= kCallsMax) return kEndless;
    if (known_[rule] != kNew) return known_[rule];
    known_[rule] = kInside;
    ++calls_;
    const uint32_t levels = grammar_.rules[rule].body == kNothing ? 0 : of(grammar_.rules[rule].body);
    --calls_;
    return known_[rule] = levels;
  }

 private:
  static constexpr uint32_t kNew = kUnbounded, kInside = kUnbounded - 1;
  static constexpr int kCallsMax = 400;

  uint32_t of(ExpressionId id) {
    const Expression& expression = grammar_.at(id);
    uint32_t levels = expression.kind == Expression::Kind::rule ? of_rule(expression.rule) : 0;
    for (const ExpressionId part : expression.parts) levels = std::max(levels, of(part));
    for (const GraphEdge& edge : expression.edges) {
      if (edge.label != kNothing) levels = std::max(levels, of(edge.label));
    }
    if (expression.kind != Expression::Kind::sequence || expression.parts.empty()) return levels;
    const Expression& first = grammar_.at(expression.parts[0]);
    const bool opens = first.kind == Expression::Kind::literal && (first.text == "{" || first.text == "[");
    return std::min(levels + (opens ? 1 : 0), kEndless);
  }

  const Grammar& grammar_;
  std::vector<uint32_t> known_;
  int calls_ = 0;
};

}  // namespace

std::string json_spelled(const std::string& text) {
  Json json;
  json.value = text;
  return to_text(json);
}

JsonRules::JsonRules(Grammar& grammar) : grammar_(grammar) {
  blank = grammar_.add_rule("blanks");
  text = grammar_.add_rule("string");
  grammar_.rules[text].body =
      grammar_.sequence({literal("\""), grammar_.repeat(character(), 0, kUnbounded), literal("\"")});
  add_numbers();
  add_values();
}

void JsonRules::limit_indent(RuleId root, uint32_t outer_levels) {
  const uint32_t levels = Nesting(grammar_).of_rule(root);
  const uint32_t indent =
      levels >= kEndless ? kEndlessIndent : kIndentOfLevel * std::clamp(levels + outer_levels, 1u, kLevelsMax);
  const auto some = [&](uint32_t most) { return grammar_.repeat(one_of(" \t"), 0, most); };
  const ExpressionId newline = grammar_.sequence({grammar_.repeat(literal("\r"), 0, 1), literal("\n"), some(indent)});
  grammar_.rules[blank].body = grammar_.sequence({some(kBlanksMax), grammar_.repeat(newline, 0, 1)});
}

ExpressionId JsonRules::one_of(std::string_view bytes) {
  CharSet set;
  for (const char c : bytes) set.push_back({static_cast<uint32_t>(c), static_cast<uint32_t>(c)});
  return grammar_.chars(std::move(set));
}

ExpressionId JsonRules::hex_digits(uint32_t count) {
  std::vector<ExpressionId> parts;
  for (uint32_t i = 0; i < count; ++i) parts.push_back(grammar_.chars({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}));
  return grammar_.sequence(std::move(parts));
}

ExpressionId JsonRules::character() {
  const ExpressionId basic = grammar_.choice(
      {grammar_.sequence({grammar_.chars({{'0', '9'}, {'A', 'C'}, {'a', 'c'}, {'E', 'F'}, {'e', 'f'}}), hex_digits(3)}),
       grammar_.sequence({one_of("Dd"), grammar_.chars({{'0', '7'}}), hex_digits(2)})});
  const ExpressionId pair = grammar_.sequence({one_of("Dd"), one_of("89ABab"), hex_digits(2), literal("\\u"),
                                               one_of("Dd"), grammar_.chars({{'C', 'F'}, {'c', 'f'}}), hex_digits(2)});
  const ExpressionId escape = grammar_.sequence(
      {literal("\\"),
       grammar_.choice({one_of("\"\\/bfnrt"), grammar_.sequence({literal("u"), grammar_.choice({basic, pair})})})});
  return grammar_.choice({grammar_.chars(complement(tidy({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}))), escape});
}

ExpressionId JsonRules::whole_number() {
  const ExpressionId digits =
      grammar_.sequence({grammar_.chars({{'1', '9'}}), grammar_.repeat(grammar_.chars({{'0', '9'}}), 0, kUnbounded)});
  return grammar_.sequence({grammar_.repeat(literal("-"), 0, 1), grammar_.choice({literal("0"), digits})});
}

void JsonRules::add_numbers() {
  whole = grammar_.add_rule("integer");
  grammar_.rules[whole].body = whole_number();
  number = grammar_.add_rule("number");
  const auto digits = [&] { return grammar_.repeat(grammar_.chars({{'0', '9'}}), 1, kUnbounded); };
  const ExpressionId fraction = grammar_.sequence({literal("."), digits()});
  const ExpressionId exponent = grammar_.sequence({one_of("eE"), grammar_.repeat(one_of("+-"), 0, 1), digits()});
  grammar_.rules[number].body =
      grammar_.sequence({whole_number(), grammar_.repeat(fraction, 0, 1), grammar_.repeat(exponent, 0, 1)});
}

void JsonRules::add_values() {
  value = grammar_.add_rule("value");
  object = grammar_.add_rule("object");
  array = grammar_.add_rule("array");
  const auto member = [&] { return grammar_.sequence({rule(text), blanks(), literal(":"), blanks(), rule(value)}); };
  const auto more = [&](ExpressionId item) {
    return grammar_.repeat(grammar_.sequence({blanks(), literal(","), blanks(), item}), 0, kUnbounded);
  };
  grammar_.rules[object].body =
      grammar_.sequence({literal("{"), blanks(),
                         grammar_.repeat(grammar_.sequence({member(), more(member()), blanks()}), 0, 1), literal("}")});
  grammar_.rules[array].body = grammar_.sequence(
      {literal("["), blanks(), grammar_.repeat(grammar_.sequence({rule(value), more(rule(value)), blanks()}), 0, 1),
       literal("]")});
  grammar_.rules[value].body = grammar_.choice(
      {rule(object), rule(array), rule(text), rule(number), literal("true"), literal("false"), literal("null")});
}

ExpressionId JsonRules::constant(const Json& json) {
  if (const auto decimal = Decimal::from(json)) return literal(decimal->text());
  if (const auto* list = json.array()) {
    std::vector<ExpressionId> parts = {literal("["), blanks()};
    for (size_t i = 0; i < list->size(); ++i) {
      if (i > 0) parts.insert(parts.end(), {literal(","), blanks()});
      parts.insert(parts.end(), {constant((*list)[i]), blanks()});
    }
    parts.push_back(literal("]"));
    return grammar_.sequence(std::move(parts));
  }
  if (const auto* members = json.object()) {
    std::vector<ExpressionId> parts = {literal("{"), blanks()};
    for (size_t i = 0; i < members->size(); ++i) {
      if (i > 0) parts.insert(parts.end(), {literal(","), blanks()});
      const JsonMember& member = (*members)[i];
      parts.insert(parts.end(), {literal(json_spelled(member.key)), blanks(), literal(":"), blanks(),
                                 constant(member.value), blanks()});
    }
    parts.push_back(literal("}"));
    return grammar_.sequence(std::move(parts));
  }
  return literal(json.text() ? json_spelled(*json.text()) : to_text(json));
}

}  // namespace moxie::grammar

#include "grammar/structure.h"

#include <map>

#include "core/fail.h"
#include "core/json.h"
#include "core/printable.h"
#include "grammar/char_dfa.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace moxie::grammar {
namespace {

constexpr int64_t kPieceCountMax = 1'000'000;
constexpr uint32_t kLevelsAround = 3;  // of a schema's value: a list of calls, a call, its arguments

// The regular expression of a text as it stands.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}/").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

class StructureCompiler {
 public:
  explicit StructureCompiler(const FindToken& find_token) : find_token_(find_token) {}

  Result<Grammar> compile(const Json& document) {
    if (const Json* rules = document.find("rules"); rules != nullptr && rules->object() != nullptr) {
      for (const auto& [name, node] : *rules->object()) rules_[name] = grammar_.add_rule(name);
      for (const auto& [name, node] : *rules->object()) {
        MOXIE_TRY(const ExpressionId body, compile_node(node));
        grammar_.rules[rules_[name]].body = body;
      }
    }
    const Json* root = document.find("root");
    if (root == nullptr) return fail(ErrorCode::invalid_argument, "a structure has no 'root'");
    MOXIE_TRY(const ExpressionId body, compile_node(*root));
    grammar_.root = grammar_.add_rule("structure", body);
    return std::move(grammar_);
  }

 private:
  Result<ExpressionId> compile_node(const Json& node) {
    if (node.text() != nullptr) return grammar_.literal(*node.text());
    if (const Json* of = node.find("sequence")) return parts(*of, true);
    if (const Json* of = node.find("choice")) return parts(*of, false);
    if (const Json* of = node.find("repeat")) return repeat(node, *of);
    if (const Json* of = node.find("schema")) return schema(*of);
    const auto text_of = [&](std::string_view key) -> const std::string* {
      const Json* value = node.find(key);
      return value != nullptr ? value->text() : nullptr;
    };
    if (const std::string* name = text_of("rule")) {
      const auto rule = rules_.find(*name);
      if (rule == rules_.end()) {
        return fail(ErrorCode::invalid_argument, "a structure names the rule '{}', which it does not have",
                    printable(*name));
      }
      return grammar_.rule(rule->second);
    }
    if (const std::string* text = text_of("token")) return token(*text);
    if (const std::string* text = text_of("regex")) {
      MOXIE_TRY(const CharDfa dfa, compile_regex(*text, RegexMatch::whole));
      return dfa.to_text(grammar_);
    }
    if (const std::string* mark = text_of("free")) return free_text(*mark);
    return fail(ErrorCode::invalid_argument, "a structure has the node {}, which is none of its kinds",
                printable(to_text(node)));
  }

  Result<ExpressionId> parts(const Json& list, bool in_a_row) {
    if (list.array() == nullptr || list.array()->empty()) {
      return fail(ErrorCode::invalid_argument, "a structure has {}, which is no list of nodes",
                  printable(to_text(list)));
    }
    std::vector<ExpressionId> made;
    for (const Json& part : *list.array()) {
      MOXIE_TRY(const ExpressionId one, compile_node(part));
      made.push_back(one);
    }
    return in_a_row ? grammar_.sequence(std::move(made)) : grammar_.choice(std::move(made));
  }

  Result<ExpressionId> repeat(const Json& node, const Json& of) {
    const auto count = [&](std::string_view key, uint32_t otherwise) -> Result<uint32_t> {
      const Json* value = node.find(key);
      if (value == nullptr) return otherwise;
      const auto whole = value->integer();
      if (!whole || *whole < 0 || *whole > kPieceCountMax) {
        return fail(ErrorCode::invalid_argument, "a structure repeats {} times; it may be 0 to {}",
                    printable(to_text(*value)), kPieceCountMax);
      }
      return static_cast<uint32_t>(*whole);
    };
    MOXIE_TRY(const uint32_t low, count("min", 0));
    MOXIE_TRY(const uint32_t high, count("max", kUnbounded));
    MOXIE_TRY(const ExpressionId part, compile_node(of));
    return grammar_.repeat(part, low, high);
  }

  ExpressionId token(const std::string& text) {
    const int32_t id = find_token_ ? find_token_(text) : -1;
    if (id < 0) return grammar_.literal(text);
    return grammar_.add({.kind = Expression::Kind::token, .token = id});
  }

  Result<ExpressionId> free_text(const std::string& mark) {
    if (mark.empty()) return fail(ErrorCode::invalid_argument, "a structure has a free text up to an empty mark");
    const int32_t id = find_token_ ? find_token_(mark) : -1;
    if (id >= 0) {
      const ExpressionId other = grammar_.add({.kind = Expression::Kind::token, .negated = true, .token = id});
      return grammar_.repeat(other, 0, kUnbounded);
    }
    MOXIE_TRY(const CharDfa with, compile_regex(escaped(mark), RegexMatch::anywhere));
    MOXIE_TRY(const CharDfa without, CharDfa::without(CharDfa::anything(), with));
    return without.to_text(grammar_);
  }

  // The schema's grammar, with its rules behind those that are here.
  Result<ExpressionId> schema(const Json& schema) {
    MOXIE_TRY(SchemaGrammar made, parse_json_schema(to_text(schema), kLevelsAround));
    const auto expressions = static_cast<ExpressionId>(grammar_.expressions.size());
    const auto rules = static_cast<RuleId>(grammar_.rules.size());
    for (Expression& expression : made.grammar.expressions) {
      if (expression.kind == Expression::Kind::rule) expression.rule += rules;
      for (ExpressionId& part : expression.parts) part += expressions;
      for (GraphEdge& edge : expression.edges) {
        if (edge.label != kNothing) edge.label += expressions;
      }
      grammar_.expressions.push_back(std::move(expression));
    }
    for (Rule& rule : made.grammar.rules) {
      if (rule.body != kNothing) rule.body += expressions;
      grammar_.rules.push_back(std::move(rule));
    }
    return grammar_.rule(made.grammar.root + rules);
  }

  const FindToken& find_token_;
  Grammar grammar_;
  std::map<std::string, RuleId, std::less<>> rules_;
};

}  // namespace

Result<Grammar> parse_structure(std::string_view text, const FindToken& find_token) {
  MOXIE_TRY(const Json document, parse_json(text, "structure"));
  return StructureCompiler(find_token).compile(document);
}

}  // namespace moxie::grammar

#include "chat/jinja/expression_parser.h"

#include <algorithm>
#include <optional>

#include "chat/jinja/parser.h"

namespace moxie::jinja {

struct ExpressionParser::Level {
  explicit Level(int& level) : count(level) { ++count; }
  ~Level() { --count; }
  int& count;
};

namespace {

Error too_deep(int line) {
  return error_at(line, fmt::format("expressions nest deeper than {}; split them with set", kTreeDepthMax),
                  ErrorCode::unsupported);
}

}  // namespace

Result<ExprPtr> ExpressionParser::finish(ExprPtr made) {
  const auto deepen = [&](const ExprPtr& part) {
    if (part) made->depth = std::max(made->depth, part->depth + 1);
  };
  for (const ExprPtr& part : made->items) deepen(part);
  for (const ExprPtr& part : made->arguments) deepen(part);
  for (const auto& [name, part] : made->named) deepen(part);
  deepen(made->spread);
  deepen(made->named_spread);
  if (made->depth > kTreeDepthMax) return too_deep(made->line);
  return made;
}

template <typename... Items>
Result<ExprPtr> ExpressionParser::make(ExprKind kind, int line, Items... items) {
  auto made = std::make_unique<Expr>();
  made->kind = kind;
  made->line = line;
  (made->items.push_back(std::move(items)), ...);
  return finish(std::move(made));
}

Result<ExprPtr> ExpressionParser::expression() {
  const Level level(level_);
  if (level_ > kTreeDepthMax) return too_deep(tokens_.line());
  const int line = tokens_.line();
  MOXIE_TRY(ExprPtr value, either());
  while (tokens_.skip_name("if")) {
    MOXIE_TRY(ExprPtr test, either());
    ExprPtr otherwise;
    if (tokens_.skip_name("else")) {
      MOXIE_TRY(otherwise, expression());
    }
    MOXIE_TRY(value, make(ExprKind::condition, line, std::move(value), std::move(test), std::move(otherwise)));
  }
  return value;
}

Result<ExprPtr> ExpressionParser::without_condition() {
  const Level level(level_);
  if (level_ > kTreeDepthMax) return too_deep(tokens_.line());
  return either();
}

Result<ExprPtr> ExpressionParser::either() {
  MOXIE_TRY(ExprPtr left, both());
  while (tokens_.current().is_name("or")) {
    const int line = tokens_.take().line;
    MOXIE_TRY(ExprPtr right, both());
    MOXIE_TRY(left, make(ExprKind::either, line, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExprPtr> ExpressionParser::both() {
  MOXIE_TRY(ExprPtr left, invert());
  while (tokens_.current().is_name("and")) {
    const int line = tokens_.take().line;
    MOXIE_TRY(ExprPtr right, invert());
    MOXIE_TRY(left, make(ExprKind::both, line, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExprPtr> ExpressionParser::invert() {
  if (!tokens_.current().is_name("not")) return compare();
  const Level level(level_);
  if (level_ > kTreeDepthMax) return too_deep(tokens_.line());
  const int line = tokens_.take().line;
  MOXIE_TRY(ExprPtr operand, invert());
  return make(ExprKind::invert, line, std::move(operand));
}

bool ExpressionParser::compare_operator(Operator& op) {
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {{"==", Operator::eq}, {"!=", Operator::ne},
                                                                         {"<", Operator::lt},  {"<=", Operator::lteq},
                                                                         {">", Operator::gt},  {">=", Operator::gteq}};
  for (const auto& [text, found] : kOperators) {
    if (tokens_.skip_op(text)) return op = found, true;
  }
  if (tokens_.skip_name("in")) return op = Operator::in, true;
  if (!tokens_.current().is_name("not") || !tokens_.ahead().is_name("in")) return false;
  tokens_.take();
  tokens_.take();
  op = Operator::notin;
  return true;
}

Result<ExprPtr> ExpressionParser::compare() {
  const int line = tokens_.line();
  MOXIE_TRY(ExprPtr first, sum());
  Operator op = Operator::eq;
  if (!compare_operator(op)) return first;
  auto made = std::make_unique<Expr>();
  made->kind = ExprKind::compare;
  made->line = line;
  made->items.push_back(std::move(first));
  do {
    made->ops.push_back(op);
    MOXIE_TRY(ExprPtr next, sum());
    made->items.push_back(std::move(next));
  } while (compare_operator(op));
  return finish(std::move(made));
}

Result<ExprPtr> ExpressionParser::sum() {
  MOXIE_TRY(ExprPtr left, concatenate());
  while (tokens_.current().is_op("+") || tokens_.current().is_op("-")) {
    const Token& token = tokens_.take();
    const int line = token.line;
    const Operator op = token.text == "+" ? Operator::add : Operator::sub;
    MOXIE_TRY(ExprPtr right, concatenate());
    MOXIE_TRY(left, make(ExprKind::arithmetic, line, std::move(left), std::move(right)));
    left->ops.push_back(op);
  }
  return left;
}

Result<ExprPtr> ExpressionParser::concatenate() {
  const int line = tokens_.line();
  MOXIE_TRY(ExprPtr first, product());
  if (!tokens_.current().is_op("~")) return first;
  auto made = std::make_unique<Expr>();
  made->kind = ExprKind::concatenate;
  made->line = line;
  made->items.push_back(std::move(first));
  while (tokens_.skip_op("~")) {
    MOXIE_TRY(ExprPtr next, product());
    made->items.push_back(std::move(next));
  }
  return finish(std::move(made));
}

Result<ExprPtr> ExpressionParser::product() {
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {
      {"*", Operator::mul}, {"/", Operator::div}, {"//", Operator::floordiv}, {"%", Operator::mod}};
  MOXIE_TRY(ExprPtr left, power());
  for (;;) {
    const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](const auto& entry) { return tokens_.current().is_op(entry.first); });
    if (found == std::end(kOperators)) return left;
    const int line = tokens_.take().line;
    MOXIE_TRY(ExprPtr right, power());
    MOXIE_TRY(left, make(ExprKind::arithmetic, line, std::move(left), std::move(right)));
    left->ops.push_back(found->second);
  }
}

Result<ExprPtr> ExpressionParser::power() {
  MOXIE_TRY(ExprPtr left, unary(true));
  while (tokens_.current().is_op("**")) {  // from the left, unlike Python
    const int line = tokens_.take().line;
    MOXIE_TRY(ExprPtr right, unary(true));
    MOXIE_TRY(left, make(ExprKind::arithmetic, line, std::move(left), std::move(right)));
    left->ops.push_back(Operator::pow);
  }
  return left;
}

Result<ExprPtr> ExpressionParser::unary(bool with_filters) {
  const Level level(level_);
  if (level_ > kTreeDepthMax) return too_deep(tokens_.line());
  const int line = tokens_.line();
  ExprPtr operand;
  if (tokens_.current().is_op("-") || tokens_.current().is_op("+")) {
    const ExprKind kind = tokens_.take().text == "-" ? ExprKind::negate : ExprKind::plus;
    MOXIE_TRY(operand, unary(false));
    MOXIE_TRY(operand, make(kind, line, std::move(operand)));
  } else {
    MOXIE_TRY(operand, primary());
  }
  MOXIE_TRY(operand, postfix(std::move(operand)));
  if (!with_filters) return operand;
  return filters_and_tests(std::move(operand));
}

Result<ExprPtr> ExpressionParser::name_or_word() {
  const Token& token = tokens_.take();
  const int line = token.line;
  const std::string& word = token.text;
  std::optional<Value> constant;
  if (word == "true" || word == "True") constant = true;
  if (word == "false" || word == "False") constant = false;
  if (word == "none" || word == "None") constant = None{};
  MOXIE_TRY(ExprPtr made, make(constant ? ExprKind::constant : ExprKind::name, line));
  if (constant) {
    made->value = *constant;
    return made;
  }
  made->text = word;
  made->id = tree_.names.id(word);
  for (Signature* signature : signatures_) {
    signature->uses_varargs |= word == "varargs";
    signature->uses_kwargs |= word == "kwargs";
    signature->uses_caller |= word == "caller";
  }
  return made;
}

Result<ExprPtr> ExpressionParser::primary() {
  const int line = tokens_.line();
  switch (tokens_.current().kind) {
    case TokenKind::name:
      return name_or_word();
    case TokenKind::text: {  // texts side by side are one
      std::string text;
      while (tokens_.current().kind == TokenKind::text) text += tokens_.take().text;
      MOXIE_TRY(ExprPtr made, make(ExprKind::constant, line));
      made->value = std::move(text);
      return made;
    }
    case TokenKind::integer:
    case TokenKind::real: {
      MOXIE_TRY(ExprPtr made, make(ExprKind::constant, line));
      made->value = tokens_.take().number;
      return made;
    }
    default:
      break;
  }
  if (tokens_.skip_op("(")) {
    MOXIE_TRY(ExprPtr inner, tuple({.parentheses = true}));
    MOXIE_TRY_VOID(tokens_.expect_op(")"));
    return inner;
  }
  if (tokens_.skip_op("[")) return list();
  if (tokens_.skip_op("{")) return dict();
  return tokens_.unexpected("an expression");
}

Result<ExprPtr> ExpressionParser::tuple(const TupleRules& rules) {
  const int line = tokens_.line();
  const auto ends = [&] {
    const Token& token = tokens_.current();
    return token.kind == TokenKind::variable_end || token.kind == TokenKind::block_end || token.is_op(")") ||
           (!rules.stop.empty() && token.is_name(rules.stop));
  };
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (!ends()) {
    MOXIE_TRY(ExprPtr item, rules.condition ? expression() : without_condition());
    items.push_back(std::move(item));
    if (!tokens_.skip_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (items.empty() && !rules.parentheses) return tokens_.unexpected("an expression");
  auto made = std::make_unique<Expr>();
  made->kind = ExprKind::tuple;
  made->line = line;
  made->items = std::move(items);
  return finish(std::move(made));
}

Result<ExprPtr> ExpressionParser::list() {
  auto made = std::make_unique<Expr>();
  made->kind = ExprKind::list;
  made->line = tokens_.line();
  while (!tokens_.current().is_op("]")) {
    MOXIE_TRY(ExprPtr item, expression());
    made->items.push_back(std::move(item));
    if (!tokens_.current().is_op("]")) MOXIE_TRY_VOID(tokens_.expect_op(","));
  }
  tokens_.take();
  return finish(std::move(made));
}

Result<ExprPtr> ExpressionParser::dict() {
  auto made = std::make_unique<Expr>();
  made->kind = ExprKind::dict;
  made->line = tokens_.line();
  while (!tokens_.current().is_op("}")) {
    MOXIE_TRY(ExprPtr key, expression());
    MOXIE_TRY_VOID(tokens_.expect_op(":"));
    MOXIE_TRY(ExprPtr value, expression());
    made->items.push_back(std::move(key));
    made->items.push_back(std::move(value));
    if (!tokens_.current().is_op("}")) MOXIE_TRY_VOID(tokens_.expect_op(","));
  }
  tokens_.take();
  return finish(std::move(made));
}

Result<ExprPtr> ExpressionParser::postfix(ExprPtr operand) {
  for (;;) {
    if (tokens_.current().is_op(".") || tokens_.current().is_op("[")) {
      MOXIE_TRY(operand, subscript(std::move(operand)));
    } else if (tokens_.current().is_op("(")) {
      MOXIE_TRY(ExprPtr call, make(ExprKind::call, tokens_.line(), std::move(operand)));
      MOXIE_TRY_VOID(arguments(*call));
      MOXIE_TRY(operand, finish(std::move(call)));
    } else {
      return operand;
    }
  }
}

Result<ExprPtr> ExpressionParser::filters_and_tests(ExprPtr operand) {
  for (;;) {
    if (tokens_.current().is_op("|")) {
      MOXIE_TRY(operand, filters(std::move(operand), false));
    } else if (tokens_.current().is_name("is")) {
      MOXIE_TRY(operand, test(std::move(operand)));
    } else if (tokens_.current().is_op("(")) {
      MOXIE_TRY(operand, postfix(std::move(operand)));
    } else {
      return operand;
    }
  }
}

Result<ExprPtr> ExpressionParser::subscript(ExprPtr operand) {
  const int line = tokens_.line();
  if (tokens_.take().text == ".") {
    if (tokens_.current().kind == TokenKind::name) {
      MOXIE_TRY(ExprPtr made, make(ExprKind::attribute, line, std::move(operand)));
      made->text = tokens_.take().text;
      return made;
    }
    if (tokens_.current().kind != TokenKind::integer) return tokens_.unexpected("a name or a number after '.'");
    MOXIE_TRY(ExprPtr index, primary());
    return make(ExprKind::item, line, std::move(operand), std::move(index));
  }
  std::vector<ExprPtr> indices;
  while (!tokens_.current().is_op("]")) {
    if (!indices.empty()) MOXIE_TRY_VOID(tokens_.expect_op(","));
    MOXIE_TRY(ExprPtr index, subscribed());
    indices.push_back(std::move(index));
  }
  tokens_.take();
  if (indices.size() == 1) return make(ExprKind::item, line, std::move(operand), std::move(indices[0]));
  auto several = std::make_unique<Expr>();
  several->kind = ExprKind::tuple;
  several->line = line;
  several->items = std::move(indices);
  MOXIE_TRY(several, finish(std::move(several)));
  return make(ExprKind::item, line, std::move(operand), std::move(several));
}

Result<ExprPtr> ExpressionParser::subscribed() {
  const int line = tokens_.line();
  ExprPtr parts[3];
  if (!tokens_.current().is_op(":")) {
    MOXIE_TRY(parts[0], expression());
    if (!tokens_.current().is_op(":")) return std::move(parts[0]);
  }
  for (int i = 1; i < 3 && tokens_.skip_op(":"); ++i) {
    const Token& token = tokens_.current();
    if (token.is_op(":") || token.is_op("]") || token.is_op(",")) continue;
    MOXIE_TRY(parts[i], expression());
  }
  return make(ExprKind::slice, line, std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
}

Result<ExprPtr> ExpressionParser::filters(ExprPtr operand, bool begun) {
  while (begun || tokens_.skip_op("|")) {
    begun = false;
    const int line = tokens_.line();
    MOXIE_TRY(std::string name, tokens_.name());
    while (tokens_.skip_op(".")) {
      MOXIE_TRY(const std::string part, tokens_.name());
      name += '.' + part;
    }
    MOXIE_TRY(ExprPtr made, make(ExprKind::filter, line, std::move(operand)));
    made->text = std::move(name);
    if (tokens_.current().is_op("(")) MOXIE_TRY_VOID(arguments(*made));
    MOXIE_TRY(operand, finish(std::move(made)));
  }
  return operand;
}

Result<ExprPtr> ExpressionParser::test(ExprPtr operand) {
  const int line = tokens_.take().line;
  const bool negated = tokens_.skip_name("not");
  MOXIE_TRY(std::string name, tokens_.name());
  while (tokens_.skip_op(".")) {
    MOXIE_TRY(const std::string part, tokens_.name());
    name += '.' + part;
  }
  MOXIE_TRY(ExprPtr made, make(ExprKind::test, line, std::move(operand)));
  made->text = std::move(name);
  const Token& next = tokens_.current();
  const bool is_operand =
      (next.kind == TokenKind::name && !next.is_name("else") && !next.is_name("or") && !next.is_name("and")) ||
      next.kind == TokenKind::text || next.kind == TokenKind::integer || next.kind == TokenKind::real ||
      next.is_op("[") || next.is_op("{");
  if (next.is_op("(")) {
    MOXIE_TRY_VOID(arguments(*made));
  } else if (is_operand) {
    if (next.is_name("is")) return tokens_.error("tests cannot follow each other; write 'x is a and x is b'");
    MOXIE_TRY(ExprPtr argument, primary());
    MOXIE_TRY(argument, postfix(std::move(argument)));
    made->arguments.push_back(std::move(argument));
  }
  MOXIE_TRY(made, finish(std::move(made)));
  if (!negated) return made;
  return make(ExprKind::invert, line, std::move(made));
}

Result<void> ExpressionParser::arguments(Expr& call) {
  const auto misplaced = [&] {
    return tokens_.error("the arguments of a call are positional, then named, then spread");
  };
  MOXIE_TRY_VOID(tokens_.expect_op("("));
  bool first = true;
  while (!tokens_.current().is_op(")")) {
    if (!first) {
      MOXIE_TRY_VOID(tokens_.expect_op(","));
      if (tokens_.current().is_op(")")) break;
    }
    first = false;
    if (tokens_.skip_op("*")) {
      if (call.spread || call.named_spread) return misplaced();
      MOXIE_TRY(call.spread, expression());
    } else if (tokens_.skip_op("**")) {
      if (call.named_spread) return misplaced();
      MOXIE_TRY(call.named_spread, expression());
    } else if (tokens_.current().kind == TokenKind::name && tokens_.ahead().is_op("=")) {
      if (call.named_spread) return misplaced();
      std::string name = tokens_.take().text;
      tokens_.take();
      MOXIE_TRY(ExprPtr value, expression());
      call.named.emplace_back(std::move(name), std::move(value));
    } else {
      if (call.spread || call.named_spread || !call.named.empty()) return misplaced();
      MOXIE_TRY(ExprPtr value, expression());
      call.arguments.push_back(std::move(value));
    }
  }
  tokens_.take();
  return {};
}

Result<Target> ExpressionParser::single_target(bool attributes) {
  const Level level(level_);
  if (level_ > kTreeDepthMax) return too_deep(tokens_.line());
  Target made;
  made.line = tokens_.line();
  if (tokens_.skip_op("(")) {
    MOXIE_TRY(made, target(attributes, ""));
    MOXIE_TRY_VOID(tokens_.expect_op(")"));
    return made;
  }
  MOXIE_TRY(made.name, tokens_.name());
  for (const std::string_view word : {"true", "false", "none", "True", "False", "None"}) {
    if (made.name == word) return tokens_.error(fmt::format("'{}' cannot be set", word));
  }
  made.id = tree_.names.id(made.name);
  if (attributes && tokens_.skip_op(".")) {
    MOXIE_TRY(made.text, tokens_.name());
  }
  return made;
}

Result<Target> ExpressionParser::target(bool attributes, std::string_view stop) {
  MOXIE_TRY(Target first, single_target(attributes));
  if (!tokens_.current().is_op(",")) return first;
  Target made;
  made.line = first.line;
  made.is_tuple = true;
  made.parts.push_back(std::move(first));
  while (tokens_.skip_op(",")) {
    const Token& token = tokens_.current();
    if (token.is_op("=") || token.is_op(")") || token.kind == TokenKind::block_end ||
        (!stop.empty() && token.is_name(stop))) {
      break;
    }
    MOXIE_TRY(Target next, single_target(attributes));
    made.parts.push_back(std::move(next));
  }
  return made;
}

}  // namespace moxie::jinja

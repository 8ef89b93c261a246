// The expressions of a template's grammar, from the weakest binding (condition) to the strongest. Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/token_stream.h"

namespace moxie::jinja {

class ExpressionParser {
 public:
  ExpressionParser(TokenStream& tokens, Tree& tree) : tokens_(tokens), tree_(tree) {}

  Result<ExprPtr> expression();
  // One expression, or a tuple of several with commas between them. `stop`: a name that ends it too.
  struct TupleRules {
    bool condition = true;     // an if-else may stand in it without parentheses
    bool parentheses = false;  // it stands in parentheses and may be empty
    std::string_view stop;
  };
  Result<ExprPtr> tuple(const TupleRules& rules);
  // The filters after an operand: | name(arguments) | ... The operand may be null. `begun`: without the first "|".
  Result<ExprPtr> filters(ExprPtr operand, bool begun);
  // What a value is assigned to. `attributes`: those of namespaces may be targets. `stop`: the name that ends it.
  Result<Target> target(bool attributes, std::string_view stop);

  // Macros being parsed, innermost last; a name in a body marks all of them.
  std::vector<Signature*>& signatures() { return signatures_; }

 private:
  struct Level;  // counts the depth of recursion
  template <typename... Items>
  Result<ExprPtr> make(ExprKind kind, int line, Items... items);
  Result<ExprPtr> finish(ExprPtr made);

  Result<ExprPtr> without_condition();
  Result<ExprPtr> either();
  Result<ExprPtr> both();
  Result<ExprPtr> invert();
  Result<ExprPtr> compare();
  Result<ExprPtr> sum();
  Result<ExprPtr> concatenate();
  Result<ExprPtr> product();
  Result<ExprPtr> power();
  Result<ExprPtr> unary(bool with_filters);
  Result<ExprPtr> primary();
  Result<ExprPtr> name_or_word();
  Result<ExprPtr> list();
  Result<ExprPtr> dict();
  Result<ExprPtr> postfix(ExprPtr operand);
  Result<ExprPtr> filters_and_tests(ExprPtr operand);
  Result<ExprPtr> subscript(ExprPtr operand);
  Result<ExprPtr> subscribed();
  Result<ExprPtr> test(ExprPtr operand);
  Result<void> arguments(Expr& call);
  Result<Target> single_target(bool attributes);
  bool compare_operator(Operator& op);

  TokenStream& tokens_;
  Tree& tree_;
  std::vector<Signature*> signatures_;
  int level_ = 0;
};

}  // namespace moxie::jinja

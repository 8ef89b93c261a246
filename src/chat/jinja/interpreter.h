// Runs a parsed template over variables, within limits: steps, depth of calls, bytes written and bytes handled. One
// interpreter serves one rendering; not thread-safe.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/value.h"
#include "core/fail.h"

namespace moxie::jinja {

struct Limits {
  uint64_t steps_max = 20'000'000;                 // expressions and statements, and work in proportion to text handled
  int depth_max = 800;                             // of expressions, statements and macros within each other
  uint64_t output_bytes_max = uint64_t{64} << 20;  // and of any other text or list
  uint64_t bytes_max = uint64_t{1} << 30;          // of all texts and lists made while rendering
};

struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<int, Value>> variables;  // by the number of the name
  bool kept = false;                             // in the interpreter's list, because something refers to it

  const Value* find(int id) const {
    for (const auto& [name, value] : variables) {
      if (name == id) return &value;
    }
    return nullptr;
  }
  void set(int id, Value value);
};

class Loop;

class Interpreter {
 public:
  Interpreter(const Tree& tree, const Limits& limits, const std::tm& now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // The text written. Errors: invalid_argument, the template and the variables do not suit each other, or the template
  // refuses them (refused() is then true); unsupported, beyond a limit.
  Result<std::string> run(const Value& variables);
  bool refused() const { return refused_; }

  // For everything that works on values.
  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<Value> filter(std::string_view name, const Value& operand, const Arguments& arguments);
  Result<bool> test(std::string_view name, const Value& operand, const Arguments& arguments);
  Result<Value> attribute(const Value& of, std::string_view name);
  Result<Value> item(const Value& of, const Value& key);
  Result<std::vector<Value>> items(const Value& of);  // what a for loop would go through
  Result<void> charge(uint64_t bytes);                // before work on so many bytes or values
  // A text that is about to be made. Errors: unsupported, too large.
  Result<void> charge_made(uint64_t bytes);
  Result<std::string> text_of(const Value& value);  // str(), charged
  Error refuse(std::string message);
  const std::tm& now() const { return now_; }
  // Namespaces may refer to each other in circles: they are emptied at the end.
  Value keep(std::shared_ptr<Object> space);

  Result<std::string> run_macro(const Stmt& macro, const std::shared_ptr<Scope>& scope, const Arguments& arguments);
  Result<std::string> run_recursive(const Stmt& loop, const std::shared_ptr<Scope>& scope, const Value& over,
                                    int depth);
  // Does an element pass the loop's test?
  Result<bool> passes(const Stmt& loop, const std::shared_ptr<Scope>& scope, const Value& element);

 private:
  enum class Flow { next, leave_loop, next_element };
  class Level;

  Result<Value> eval(const Expr& expr);
  Result<Value> eval_plain(const Expr& expr);
  Result<Value> eval_name(const Expr& expr);
  Result<Value> eval_items(const Expr& expr);
  Result<Value> eval_dict(const Expr& expr);
  Result<Value> eval_item(const Expr& expr);
  Result<Value> eval_call(const Expr& expr);
  Result<Value> eval_filter(const Expr& expr, const Value* operand);
  Result<Value> eval_test(const Expr& expr);
  Result<Value> eval_condition(const Expr& expr);
  Result<Value> eval_concatenate(const Expr& expr);
  Result<Value> eval_compare(const Expr& expr);
  Result<Arguments> eval_arguments(const Expr& expr);

  Result<Flow> run_block(const Block& block);
  Result<Flow> run_statement(const Stmt& stmt);
  Result<Flow> run_in_scope(const Block& block);
  Result<Flow> run_branch(const Stmt& stmt);
  Result<Flow> run_loop(const Stmt& stmt, const Value& over, int depth);
  Result<void> run_set(const Stmt& stmt);
  Result<void> run_with(const Stmt& stmt, Flow& flow);
  Result<void> run_call_block(const Stmt& stmt);
  Result<void> run_filter_block(const Stmt& stmt);
  Result<std::string> caught(const Block& block, const std::shared_ptr<Scope>& scope);
  // Filters of a block: the operand of the innermost is `operand`.
  Result<Value> filtered(const Expr& expr, const Value& operand);
  Result<void> assign(const Target& target, const Value& value);
  Result<void> write(std::string_view text);
  Value make_macro(const Stmt& stmt);
  void keep_scope(const std::shared_ptr<Scope>& scope);
  Error at(Error error, int line) const;

  const Tree& tree_;
  Limits limits_;
  std::tm now_;
  std::vector<Value> globals_;  // by the number of the name
  std::shared_ptr<Scope> scope_;
  std::string* out_ = nullptr;
  uint64_t steps_ = 0, bytes_ = 0;
  int depth_ = 0;
  bool refused_ = false;
  std::vector<std::shared_ptr<Object>> spaces_;
  std::vector<std::shared_ptr<Scope>> scopes_;
};

// An error that Python would raise: the message says what went wrong with which types.
template <typename... Args>
Error bad(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::invalid_argument, format, std::forward<Args>(args)...);
}
// The use of something undefined.
Error undefined_error(const Value& value);

// ---- what the interpreter calls; one file each ----

// The names a template finds without being given them; `name` alone, since only those that it uses are made.
std::optional<Value> find_global(std::string_view name);
Result<Value> arithmetic(Interpreter& interpreter, Operator op, const Value& a, const Value& b);
Result<Value> negate(const Value& value);
Result<Value> plus(const Value& value);
Result<bool> compare(Interpreter& interpreter, Operator op, const Value& a, const Value& b);
Result<bool> less(const Value& a, const Value& b);
Result<bool> contains(Interpreter& interpreter, const Value& in, const Value& element);
// of[start:stop:step]; undefined parts are those left out.
Result<Value> slice(Interpreter& interpreter, const Value& of, const Value* start, const Value* stop,
                    const Value* step);
Result<Int> length_of(const Value& value);

using MethodFunction = Result<Value> (*)(Interpreter&, const Value& self, const Arguments&);
struct MethodEntry {
  std::string_view name;
  MethodFunction function;
};
const MethodEntry* find_text_method(std::string_view name);
const MethodEntry* find_value_method(const Value& of, std::string_view name);
Value bound_method(const Value& self, const MethodEntry& entry);

using FilterFunction = Result<Value> (*)(Interpreter&, const Value& operand, const Arguments&);
struct FilterEntry {
  std::string_view name;
  FilterFunction function;
};
const FilterEntry* find_filter(std::string_view name);
using TestFunction = Result<bool> (*)(Interpreter&, const Value& operand, const Arguments&);
struct TestEntry {
  std::string_view name;
  TestFunction function;
};
const TestEntry* find_test(std::string_view name);

// text % values, and text.format(...).
Result<Value> percent_format(Interpreter& interpreter, const Text& format, const Value& values);
Result<Value> brace_format(Interpreter& interpreter, const Text& format, const Arguments& arguments);

struct JsonStyle {
  bool ascii = false, sort_keys = false;
  std::optional<std::string> indent;  // text for each level; without it all stands in one line
  std::string item_separator, key_separator;
};
// json.dumps(). Errors: a value that JSON has no form for.
Result<std::string> json_text(const Value& value, const JsonStyle& style);
// datetime.strftime() of a time without zone.
std::string time_text(const std::string& format, const std::tm& time);

// Arguments by position or name, in the order of `names`; null where left out. Errors: too many, unknown, missing ones.
Result<std::vector<const Value*>> bind(std::string_view function, const Arguments& arguments,
                                       std::initializer_list<std::string_view> names, size_t required = 0);
Result<int64_t> int_argument(std::string_view function, std::string_view name, const Value& value);

}  // namespace moxie::jinja

#include "chat/jinja/interpreter.h"

#include <algorithm>
#include <utility>

#include "chat/jinja/lexer.h"
#include "chat/jinja/loop.h"
#include "chat/jinja/macro.h"

namespace moxie::jinja {
namespace {

constexpr std::string_view kPlace = "chat template, line ";
constexpr int kNestingMax = 200;  // of lists in lists
constexpr uint64_t kBytesPerStep = 64;
constexpr uint64_t kKeptBytes = 256;  // what a scope or namespace that stays is counted as

}  // namespace

void Scope::set(int id, Value value) {
  for (auto& [name, old] : variables) {
    if (name == id) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(id, std::move(value));
}

Error undefined_error(const Value& value) {
  return bad("{}; test it with 'is defined' or give a default", value.undefined_message());
}

// One more expression, statement or macro within others.
class Interpreter::Level {
 public:
  explicit Level(Interpreter& interpreter) : interpreter_(interpreter) { ++interpreter_.depth_; }
  ~Level() { --interpreter_.depth_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

  Result<void> enter() {
    if (interpreter_.depth_ > interpreter_.limits_.depth_max) {
      return fail(ErrorCode::unsupported, "more than {} expressions, statements and macros within each other",
                  interpreter_.limits_.depth_max);
    }
    return interpreter_.charge(0);
  }

 private:
  Interpreter& interpreter_;
};

Interpreter::Interpreter(const Tree& tree, const Limits& limits, const std::tm& now)
    : tree_(tree), limits_(limits), now_(now), globals_(tree.names.size()), scope_(std::make_shared<Scope>()) {}

Interpreter::~Interpreter() {
  for (const auto& space : spaces_) space->clear();
  for (const auto& scope : scopes_) {
    scope->variables.clear();
    scope->parent.reset();
  }
}

Result<std::string> Interpreter::run(const Value& variables) {
  for (size_t id = 0; id < globals_.size(); ++id) {
    const std::string& name = tree_.names.name(static_cast<int>(id));
    const Value* given = variables.dict() ? variables.dict()->find(std::string_view(name)) : nullptr;
    if (given) {
      globals_[id] = *given;
    } else {
      globals_[id] = find_global(name).value_or(Value::undefined(fmt::format("'{}' is undefined", name)));
    }
  }
  std::string text;
  out_ = &text;
  MOXIE_TRY_VOID(run_block(tree_.body));
  return text;
}

Error Interpreter::at(Error error, int line) const {
  if (error.message.starts_with(kPlace)) return error;
  return error_at(line, error.message, error.code);
}

Error Interpreter::refuse(std::string message) {
  refused_ = true;
  return Error{ErrorCode::invalid_argument, std::move(message)};
}

Result<void> Interpreter::charge(uint64_t bytes) {
  steps_ += 1 + bytes / kBytesPerStep;
  if (steps_ > limits_.steps_max) {
    return fail(ErrorCode::unsupported, "more than {} steps; does a loop or macro repeat itself?", limits_.steps_max);
  }
  return {};
}

Result<void> Interpreter::charge_made(uint64_t bytes) {
  if (bytes > limits_.output_bytes_max || bytes_ + bytes > limits_.bytes_max) {
    return fail(ErrorCode::unsupported, "a text or list of {} bytes; at most {} are made, and {} in all", bytes,
                limits_.output_bytes_max, limits_.bytes_max);
  }
  bytes_ += bytes;
  return charge(bytes);
}

Result<std::string> Interpreter::text_of(const Value& value) {
  MOXIE_TRY_VOID(charge_made(value.extent().weight));
  return to_text(value);
}

Value Interpreter::keep(std::shared_ptr<Object> space) {
  bytes_ += kKeptBytes;
  spaces_.push_back(space);
  return Value(std::move(space));
}

void Interpreter::keep_scope(const std::shared_ptr<Scope>& scope) {
  if (std::exchange(scope->kept, true)) return;
  bytes_ += kKeptBytes;
  scopes_.push_back(scope);
}

Result<void> Interpreter::write(std::string_view text) {
  if (out_->size() + text.size() > limits_.output_bytes_max) {
    return fail(ErrorCode::unsupported, "the text written exceeds {} bytes", limits_.output_bytes_max);
  }
  MOXIE_TRY_VOID(charge(text.size()));
  *out_ += text;
  return {};
}

Result<Interpreter::Flow> Interpreter::run_block(const Block& block) {
  for (const auto& stmt : block) {
    auto flow = run_statement(*stmt);
    if (!flow.ok()) return at(std::move(flow).error(), stmt->line);
    if (*flow != Flow::next) return flow;
  }
  return Flow::next;
}

Result<Interpreter::Flow> Interpreter::run_statement(const Stmt& stmt) {
  Level level(*this);
  MOXIE_TRY_VOID(level.enter());
  Flow flow = Flow::next;
  switch (stmt.kind) {
    case StmtKind::text:
      MOXIE_TRY_VOID(write(stmt.text));
      break;
    case StmtKind::print: {
      MOXIE_TRY(const Value value, eval(*stmt.expr));
      if (const Text* text = value.text()) {
        MOXIE_TRY_VOID(write(text->bytes));
      } else {
        MOXIE_TRY(const std::string text_made, text_of(value));
        MOXIE_TRY_VOID(write(text_made));
      }
      break;
    }
    case StmtKind::branch:
      return run_branch(stmt);
    case StmtKind::loop: {
      MOXIE_TRY(const Value over, eval(*stmt.expr));
      return run_loop(stmt, over, 0);
    }
    case StmtKind::set:
    case StmtKind::set_block:
      MOXIE_TRY_VOID(run_set(stmt));
      break;
    case StmtKind::macro:
      scope_->set(stmt.signature->id, make_macro(stmt));
      break;
    case StmtKind::call_block:
      MOXIE_TRY_VOID(run_call_block(stmt));
      break;
    case StmtKind::filter_block:
      MOXIE_TRY_VOID(run_filter_block(stmt));
      break;
    case StmtKind::with:
      MOXIE_TRY_VOID(run_with(stmt, flow));
      break;
    case StmtKind::scope:
      return run_in_scope(stmt.body);
    case StmtKind::break_loop:
      return Flow::leave_loop;
    case StmtKind::continue_loop:
      return Flow::next_element;
  }
  return flow;
}

Result<Interpreter::Flow> Interpreter::run_in_scope(const Block& block) {
  auto inner = std::make_shared<Scope>();
  inner->parent = scope_;
  const std::shared_ptr<Scope> outer = std::exchange(scope_, std::move(inner));
  auto flow = run_block(block);
  scope_ = outer;
  return flow;
}

Result<Interpreter::Flow> Interpreter::run_branch(const Stmt& stmt) {
  for (const Branch& branch : stmt.branches) {
    if (branch.test) {
      MOXIE_TRY(const Value test, eval(*branch.test));
      if (!truth(test)) continue;
    }
    return run_block(branch.body);
  }
  return Flow::next;
}

Result<bool> Interpreter::passes(const Stmt& stmt, const std::shared_ptr<Scope>& scope, const Value& element) {
  auto inner = std::make_shared<Scope>();
  inner->parent = scope;
  const std::shared_ptr<Scope> outer = std::exchange(scope_, std::move(inner));
  Result<bool> passed = false;
  if (auto set = assign(stmt.target, element); !set.ok()) {
    passed = std::move(set).error();
  } else if (auto value = eval(*stmt.test); !value.ok()) {
    passed = std::move(value).error();
  } else {
    passed = truth(*value);
  }
  scope_ = outer;
  return passed;
}

Result<Interpreter::Flow> Interpreter::run_loop(const Stmt& stmt, const Value& over, int depth) {
  MOXIE_TRY(std::vector<Value> elements, items(over));
  const bool needs_scope = stmt.recursive || stmt.test;
  if (needs_scope) keep_scope(scope_);
  const auto loop = std::make_shared<Loop>(stmt, needs_scope ? scope_ : nullptr, std::move(elements), depth);
  const std::shared_ptr<Scope> outer = scope_;
  bool any = false;
  Result<Flow> flow = Flow::next;
  for (;;) {
    auto more = loop->advance(*this);
    if (!more.ok()) return std::move(more).error();
    if (!*more) break;
    scope_ = std::make_shared<Scope>();  // each element's variables are its own
    scope_->parent = outer;
    scope_->set(tree_.loop_id, Value(std::shared_ptr<Object>(loop)));
    if (auto set = assign(stmt.target, loop->current()); !set.ok()) {
      flow = std::move(set).error();
    } else {
      flow = run_block(stmt.body);
    }
    scope_ = outer;
    if (!flow.ok() || *flow == Flow::leave_loop) break;
    any |= *flow == Flow::next;
  }
  if (!flow.ok()) return flow;
  // As in Jinja2, an element whose body was left by break or continue does not count.
  if (!any) return run_in_scope(stmt.otherwise);
  return Flow::next;
}

Result<std::string> Interpreter::run_recursive(const Stmt& stmt, const std::shared_ptr<Scope>& scope, const Value& over,
                                               int depth) {
  std::string text;
  std::string* const written = std::exchange(out_, &text);
  const std::shared_ptr<Scope> outer = std::exchange(scope_, scope);
  auto flow = run_loop(stmt, over, depth);
  scope_ = outer;
  out_ = written;
  if (!flow.ok()) return std::move(flow).error();
  MOXIE_TRY_VOID(charge_made(text.size()));
  return text;
}

Result<std::string> Interpreter::caught(const Block& block, const std::shared_ptr<Scope>& scope) {
  std::string text;
  std::string* const written = std::exchange(out_, &text);
  const std::shared_ptr<Scope> outer = std::exchange(scope_, scope);
  auto flow = run_block(block);
  scope_ = outer;
  out_ = written;
  if (!flow.ok()) return std::move(flow).error();
  MOXIE_TRY_VOID(charge_made(text.size()));
  return text;
}

Result<void> Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    MOXIE_TRY(const std::vector<Value> parts, items(value));
    if (parts.size() != target.parts.size()) {
      return bad("{} values to unpack, {} expected", parts.size(), target.parts.size());
    }
    for (size_t i = 0; i < parts.size(); ++i) MOXIE_TRY_VOID(assign(target.parts[i], parts[i]));
    return {};
  }
  if (target.text.empty()) {
    scope_->set(target.id, value);
    return {};
  }
  const Value* found = nullptr;
  for (const Scope* scope = scope_.get(); scope && !found; scope = scope->parent.get()) found = scope->find(target.id);
  if (!found) found = &globals_[static_cast<size_t>(target.id)];
  auto* space = object_as<Namespace>(*found, Object::Kind::space);
  if (!space) {
    return bad("the attribute '{}' of '{}' cannot be set, since that is no namespace", target.text, target.name);
  }
  if (target.text.starts_with('_')) return bad("a namespace has no attributes that begin with '_': '{}'", target.text);
  space->set(target.text, value);
  return {};
}

Result<void> Interpreter::run_set(const Stmt& stmt) {
  if (stmt.kind == StmtKind::set) {
    MOXIE_TRY(const Value value, eval(*stmt.expr));
    return assign(stmt.target, value);
  }
  auto inner = std::make_shared<Scope>();
  inner->parent = scope_;
  MOXIE_TRY(std::string text, caught(stmt.body, inner));
  Value value(std::move(text));
  if (stmt.expr) {
    MOXIE_TRY(value, filtered(*stmt.expr, value));
  }
  return assign(stmt.target, value);
}

Result<void> Interpreter::run_with(const Stmt& stmt, Flow& flow) {
  std::vector<Value> values;
  for (const ExprPtr& expr : stmt.values) {
    MOXIE_TRY(Value value, eval(*expr));
    values.push_back(std::move(value));
  }
  auto inner = std::make_shared<Scope>();
  inner->parent = scope_;
  const std::shared_ptr<Scope> outer = std::exchange(scope_, std::move(inner));
  Result<void> done;
  for (size_t i = 0; i < values.size() && done.ok(); ++i) done = assign(stmt.targets[i], values[i]);
  if (done.ok()) {
    auto ran = run_block(stmt.body);
    if (ran.ok()) {
      flow = *ran;
    } else {
      done = std::move(ran).error();
    }
  }
  scope_ = outer;
  return done;
}

Value Interpreter::make_macro(const Stmt& stmt) {
  keep_scope(scope_);
  return std::shared_ptr<Object>(std::make_shared<Macro>(stmt, scope_));
}

Result<void> Interpreter::run_call_block(const Stmt& stmt) {
  MOXIE_TRY(const Value callee, eval(*stmt.expr->items[0]));
  MOXIE_TRY(Arguments arguments, eval_arguments(*stmt.expr));
  arguments.named.emplace_back("caller", make_macro(stmt));
  MOXIE_TRY(const Value made, call(callee, arguments));
  MOXIE_TRY(const std::string text, text_of(made));
  return write(text);
}

Result<void> Interpreter::run_filter_block(const Stmt& stmt) {
  auto inner = std::make_shared<Scope>();
  inner->parent = scope_;
  MOXIE_TRY(std::string text, caught(stmt.body, inner));
  MOXIE_TRY(const Value made, filtered(*stmt.expr, Value(std::move(text))));
  MOXIE_TRY(const std::string written, text_of(made));
  return write(written);
}

Result<Value> Interpreter::filtered(const Expr& expr, const Value& operand) {
  if (!expr.items[0]) return eval_filter(expr, &operand);
  MOXIE_TRY(const Value inner, filtered(*expr.items[0], operand));
  return eval_filter(expr, &inner);
}

Result<Value> Interpreter::eval(const Expr& expr) {
  Level level(*this);
  if (auto entered = level.enter(); !entered.ok()) return at(std::move(entered).error(), expr.line);
  auto value = eval_plain(expr);
  if (!value.ok()) return at(std::move(value).error(), expr.line);
  const Extent extent = value->extent();
  if (extent.depth > kNestingMax || extent.weight > limits_.output_bytes_max) {
    return error_at(expr.line,
                    fmt::format("a value of {} levels and {} bytes; the limits are {} and {}", extent.depth,
                                extent.weight, kNestingMax, limits_.output_bytes_max),
                    ErrorCode::unsupported);
  }
  return value;
}

Result<Value> Interpreter::eval_plain(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::constant:
      return expr.value;
    case ExprKind::name:
      return eval_name(expr);
    case ExprKind::list:
    case ExprKind::tuple:
      return eval_items(expr);
    case ExprKind::dict:
      return eval_dict(expr);
    case ExprKind::attribute: {
      MOXIE_TRY(const Value of, eval(*expr.items[0]));
      return attribute(of, expr.text);
    }
    case ExprKind::item:
      return eval_item(expr);
    case ExprKind::slice:
      return bad("several slices at once are not known; take one after the other");
    case ExprKind::call:
      return eval_call(expr);
    case ExprKind::filter: {
      MOXIE_TRY(const Value operand, eval(*expr.items[0]));
      return eval_filter(expr, &operand);
    }
    case ExprKind::test:
      return eval_test(expr);
    case ExprKind::negate: {
      MOXIE_TRY(const Value operand, eval(*expr.items[0]));
      return negate(operand);
    }
    case ExprKind::plus: {
      MOXIE_TRY(const Value operand, eval(*expr.items[0]));
      return plus(operand);
    }
    case ExprKind::invert: {
      MOXIE_TRY(const Value operand, eval(*expr.items[0]));
      return Value(!truth(operand));
    }
    case ExprKind::both:
    case ExprKind::either: {
      MOXIE_TRY(Value left, eval(*expr.items[0]));
      if (truth(left) == (expr.kind == ExprKind::either)) return left;
      return eval(*expr.items[1]);
    }
    case ExprKind::condition:
      return eval_condition(expr);
    case ExprKind::arithmetic: {
      MOXIE_TRY(const Value left, eval(*expr.items[0]));
      MOXIE_TRY(const Value right, eval(*expr.items[1]));
      return arithmetic(*this, expr.ops[0], left, right);
    }
    case ExprKind::concatenate:
      return eval_concatenate(expr);
    case ExprKind::compare:
      return eval_compare(expr);
  }
  return Value(None{});
}

Result<Value> Interpreter::eval_name(const Expr& expr) {
  for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    if (const Value* found = scope->find(expr.id)) return *found;
  }
  return globals_[static_cast<size_t>(expr.id)];
}

Result<Value> Interpreter::eval_items(const Expr& expr) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const ExprPtr& item : expr.items) {
    MOXIE_TRY(Value value, eval(*item));
    items.push_back(std::move(value));
  }
  return expr.kind == ExprKind::list ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

Result<Value> Interpreter::eval_dict(const Expr& expr) {
  DictBuilder dict;
  for (size_t i = 0; i + 1 < expr.items.size(); i += 2) {
    MOXIE_TRY(Value key, eval(*expr.items[i]));
    MOXIE_TRY(Value value, eval(*expr.items[i + 1]));
    if (!hashable(key)) return bad("unhashable type: '{}' cannot be a key", type_name(key));
    dict.set(std::move(key), std::move(value));
  }
  return dict.finish();
}

Result<Value> Interpreter::eval_item(const Expr& expr) {
  MOXIE_TRY(const Value of, eval(*expr.items[0]));
  const Expr& key = *expr.items[1];
  if (key.kind != ExprKind::slice) {
    MOXIE_TRY(const Value value, eval(key));
    return item(of, value);
  }
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) {
    if (!key.items[i]) continue;
    MOXIE_TRY(parts[i], eval(*key.items[i]));
  }
  const auto part = [&](size_t i) { return key.items[i] ? &parts[i] : nullptr; };
  return slice(*this, of, part(0), part(1), part(2));
}

Result<Arguments> Interpreter::eval_arguments(const Expr& expr) {
  Arguments arguments;
  for (const ExprPtr& argument : expr.arguments) {
    MOXIE_TRY(Value value, eval(*argument));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, argument] : expr.named) {
    MOXIE_TRY(Value value, eval(*argument));
    arguments.named.emplace_back(name, std::move(value));
  }
  if (expr.spread) {
    MOXIE_TRY(const Value spread, eval(*expr.spread));
    MOXIE_TRY(std::vector<Value> more, items(spread));
    for (Value& value : more) arguments.positional.push_back(std::move(value));
  }
  if (expr.named_spread) {
    MOXIE_TRY(const Value spread, eval(*expr.named_spread));
    if (!spread.dict()) return bad("argument after ** must be a mapping, not {}", type_name(spread));
    for (const auto& [key, value] : spread.dict()->entries) {
      if (!key.text()) return bad("keywords must be strings");
      arguments.named.emplace_back(key.text()->bytes, value);
    }
  }
  for (size_t i = 0; i < arguments.named.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (arguments.named[i].first == arguments.named[k].first) {
        return bad("the argument '{}' is given twice", arguments.named[i].first);
      }
    }
    MOXIE_TRY_VOID(charge(i));
  }
  return arguments;
}

Result<Value> Interpreter::eval_call(const Expr& expr) {
  MOXIE_TRY(const Value callee, eval(*expr.items[0]));
  MOXIE_TRY(const Arguments arguments, eval_arguments(expr));
  return call(callee, arguments);
}

Result<Value> Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) return undefined_error(callee);
  if (!callee.object()) return bad("'{}' object is not callable", type_name(callee));
  return callee.object()->call(*this, arguments);
}

Result<Value> Interpreter::eval_filter(const Expr& expr, const Value* operand) {
  MOXIE_TRY(const Arguments arguments, eval_arguments(expr));
  return filter(expr.text, *operand, arguments);
}

Result<Value> Interpreter::filter(std::string_view name, const Value& operand, const Arguments& arguments) {
  const FilterEntry* entry = find_filter(name);
  if (!entry) return bad("there is no filter named '{}'", name);
  return entry->function(*this, operand, arguments);
}

Result<bool> Interpreter::test(std::string_view name, const Value& operand, const Arguments& arguments) {
  const TestEntry* entry = find_test(name);
  if (!entry) return bad("there is no test named '{}'", name);
  return entry->function(*this, operand, arguments);
}

Result<Value> Interpreter::eval_test(const Expr& expr) {
  MOXIE_TRY(const Value operand, eval(*expr.items[0]));
  MOXIE_TRY(const Arguments arguments, eval_arguments(expr));
  MOXIE_TRY(const bool passed, test(expr.text, operand, arguments));
  return Value(passed);
}

Result<Value> Interpreter::eval_condition(const Expr& expr) {
  MOXIE_TRY(const Value test, eval(*expr.items[1]));
  if (truth(test)) return eval(*expr.items[0]);
  if (expr.items[2]) return eval(*expr.items[2]);
  return Value::undefined(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was defined", expr.line));
}

Result<Value> Interpreter::eval_concatenate(const Expr& expr) {
  std::string text;
  for (const ExprPtr& item : expr.items) {
    MOXIE_TRY(const Value value, eval(*item));
    MOXIE_TRY(const std::string part, text_of(value));
    MOXIE_TRY_VOID(charge_made(part.size()));
    text += part;
  }
  return Value(std::move(text));
}

Result<Value> Interpreter::eval_compare(const Expr& expr) {
  MOXIE_TRY(Value left, eval(*expr.items[0]));
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    MOXIE_TRY(Value right, eval(*expr.items[i + 1]));
    MOXIE_TRY(const bool holds, jinja::compare(*this, expr.ops[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

}  // namespace moxie::jinja

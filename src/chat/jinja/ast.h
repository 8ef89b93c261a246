// The tree of a parsed template. Immutable once parsed; interpreters share it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chat/jinja/value.h"

namespace moxie::jinja {

enum class ExprKind {
  constant,     // value
  name,         // text, id
  list,         // items
  tuple,        // items
  dict,         // items: key, value, key, value
  attribute,    // items[0] . text
  item,         // items[0] [ items[1] ]
  slice,        // items: start, stop, step; null where left out
  call,         // items[0] ( arguments )
  filter,       // items[0], null in a filter block, | text ( arguments )
  test,         // items[0] is text ( arguments )
  negate,       // items[0]
  plus,         // items[0]
  invert,       // not items[0]
  both,         // items[0] and items[1]
  either,       // items[0] or items[1]
  condition,    // items[0] if items[1] else items[2]; null where left out
  arithmetic,   // items[0] op items[1]
  concatenate,  // items joined as text
  compare,      // items[0] ops[0] items[1] ops[1] items[2] ...
};

enum class Operator { add, sub, mul, div, floordiv, mod, pow, eq, ne, lt, lteq, gt, gteq, in, notin };

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  ExprKind kind;
  int line = 0;
  std::string text;
  int id = -1;  // of a name
  Value value;
  std::vector<ExprPtr> items;
  std::vector<Operator> ops;
  int depth = 1;  // of this tree
  // Arguments of a call, filter or test: in order, by name, *spread, **named_spread.
  std::vector<ExprPtr> arguments;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr spread, named_spread;
};

// Where a value goes: a name, an attribute of a namespace (`text` of the variable `id`), or several targets.
struct Target {
  int id = -1;
  std::string name;
  std::string text;  // the attribute; empty: a name
  int line = 0;
  bool is_tuple = false;
  std::vector<Target> parts;
};

enum class StmtKind {
  text,          // text as it is
  print,         // expr
  branch,        // branches
  loop,          // for target in expr if test: body, otherwise
  set,           // target = expr
  set_block,     // target = body, through filters (expr, whose innermost operand is null)
  macro,         // signature, body
  call_block,    // signature, expr (a call), body
  filter_block,  // expr, body
  with,          // targets = values, body
  scope,         // body with variables of its own: block, generation
  break_loop,
  continue_loop,
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

struct Signature {
  std::string name;
  int id = -1;  // of the macro's name; -1: a call block
  struct Parameter {
    std::string name;
    int id;
    ExprPtr otherwise;  // null: none
  };
  std::vector<Parameter> parameters;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct Branch {
  ExprPtr test;  // null: else
  Block body;
};

struct Stmt {
  StmtKind kind;
  int line = 0;
  std::string text;
  ExprPtr expr, test;
  Target target;
  bool recursive = false;
  Block body, otherwise;
  std::vector<Branch> branches;
  std::vector<Target> targets;
  std::vector<ExprPtr> values;
  std::unique_ptr<Signature> signature;
};

// Names as numbers, so that looking up a variable compares no text.
class Names {
 public:
  int id(const std::string& name);
  int find(std::string_view name) const;  // -1: no part of the template names it
  const std::string& name(int id) const { return names_[static_cast<size_t>(id)]; }
  size_t size() const { return names_.size(); }

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, int> ids_;
};

struct Tree {
  Block body;
  Names names;
  int loop_id = -1, caller_id = -1, varargs_id = -1, kwargs_id = -1;
};

}  // namespace moxie::jinja

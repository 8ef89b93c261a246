// The variable `loop` of a for loop. Elements that the loop's test refuses are skipped when their turn comes, since the
// test may depend on what the body did.
#pragma once

#include "chat/jinja/interpreter.h"

namespace moxie::jinja {

class Loop final : public Object {
 public:
  Loop(const Stmt& stmt, std::shared_ptr<Scope> scope, std::vector<Value> elements, int depth);
  std::string_view type_name() const override { return "LoopContext"; }
  std::string repr() const override;
  bool callable() const override { return true; }
  Result<Value> call(Interpreter& interpreter, const Arguments& arguments) override;
  Result<Value> attribute(Interpreter& interpreter, std::string_view name) override;

  // Moves to the next element; false: there is none.
  Result<bool> advance(Interpreter& interpreter);
  const Value& current() const { return current_; }
  Result<Int> length(Interpreter& interpreter);

  void clear() override { last_changed_.reset(); }

  Result<Value> cycle(Interpreter& interpreter, const Arguments& arguments);
  Result<Value> changed(Interpreter& interpreter, const Arguments& arguments);

 private:
  // Makes `ahead_` the next element that passes; false: there is none.
  Result<bool> look_ahead(Interpreter& interpreter);

  const Stmt& stmt_;
  std::shared_ptr<Scope> scope_;  // around the loop, where its test or a recursive call needs it
  std::vector<Value> elements_;
  size_t at_ = 0;  // of the next one to look at
  bool filtered_;
  bool kept_ = false;
  int depth_;
  Int index_ = -1;
  Value before_, current_;
  std::optional<Value> ahead_, last_changed_;
  bool has_before_ = false;
};

}  // namespace moxie::jinja

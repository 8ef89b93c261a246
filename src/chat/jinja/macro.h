// Macros, and the bodies of call blocks, as values. Not thread-safe.
#pragma once

#include "chat/jinja/interpreter.h"

namespace moxie::jinja {

class Macro final : public Object {
 public:
  Macro(const Stmt& stmt, std::shared_ptr<Scope> scope) : Object(Kind::macro), stmt_(stmt), scope_(std::move(scope)) {}
  std::string_view type_name() const override { return "Macro"; }
  std::string repr() const override { return fmt::format("<Macro {}>", to_repr(stmt_.signature->name)); }
  bool callable() const override { return true; }
  Result<Value> call(Interpreter& interpreter, const Arguments& arguments) override;
  Result<Value> attribute(Interpreter& interpreter, std::string_view name) override;

 private:
  const Stmt& stmt_;
  std::shared_ptr<Scope> scope_;  // where it was defined
};

}  // namespace moxie::jinja

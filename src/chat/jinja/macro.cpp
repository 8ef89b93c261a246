#include "chat/jinja/macro.h"

#include <algorithm>

namespace moxie::jinja {

Result<Value> Macro::call(Interpreter& interpreter, const Arguments& arguments) {
  MOXIE_TRY(std::string text, interpreter.run_macro(stmt_, scope_, arguments));
  return Value(std::move(text));
}

Result<Value> Macro::attribute(Interpreter& interpreter, std::string_view name) {
  const Signature& signature = *stmt_.signature;
  if (name == "name") return Value(signature.name);
  if (name == "catch_kwargs") return Value(signature.uses_kwargs);
  if (name == "catch_varargs") return Value(signature.uses_varargs);
  if (name == "caller") return Value(signature.uses_caller);
  if (name == "arguments") {
    std::vector<Value> names;
    for (const auto& parameter : signature.parameters) names.emplace_back(parameter.name);
    return Value::tuple(std::move(names));
  }
  return Object::attribute(interpreter, name);
}

namespace {

const Value* named_argument(const Arguments& arguments, std::string_view name) {
  for (const auto& [key, value] : arguments.named) {
    if (key == name) return &value;
  }
  return nullptr;
}

bool is_parameter(const Signature& signature, std::string_view name, size_t from) {
  return std::any_of(signature.parameters.begin() + static_cast<std::ptrdiff_t>(from), signature.parameters.end(),
                     [&](const auto& parameter) { return parameter.name == name; });
}

// What is left over goes to varargs, kwargs and caller where the body uses them, and is an error elsewhere.
Result<void> bind_rest(const Tree& tree, const Signature& signature, const Arguments& arguments, Scope& scope) {
  const size_t count = signature.parameters.size(), given = arguments.positional.size();
  const size_t taken = std::min(count, given);
  const bool takes_caller = signature.uses_caller && !is_parameter(signature, "caller", 0);
  if (takes_caller) {
    const Value* caller = named_argument(arguments, "caller");
    scope.set(tree.caller_id, caller ? *caller : Value::undefined("No caller defined"));
  }
  DictBuilder named;
  for (const auto& [name, value] : arguments.named) {
    if (is_parameter(signature, name, taken) || (takes_caller && name == "caller")) continue;
    if (!signature.uses_kwargs) return bad("macro '{}' takes no argument named '{}'", signature.name, name);
    named.set(Value(name), value);
  }
  if (signature.uses_kwargs) scope.set(tree.kwargs_id, named.finish());
  if (signature.uses_varargs) {
    const auto begin = arguments.positional.begin() + static_cast<std::ptrdiff_t>(taken);
    scope.set(tree.varargs_id, Value::tuple({begin, arguments.positional.end()}));
  } else if (given > count) {
    return bad("macro '{}' takes not more than {} arguments, {} were given", signature.name, count, given);
  }
  return {};
}

}  // namespace

Result<std::string> Interpreter::run_macro(const Stmt& macro, const std::shared_ptr<Scope>& scope,
                                           const Arguments& arguments) {
  const Signature& signature = *macro.signature;
  auto inner = std::make_shared<Scope>();
  inner->parent = scope;
  std::vector<const Signature::Parameter*> missing;
  for (size_t i = 0; i < signature.parameters.size(); ++i) {
    const auto& parameter = signature.parameters[i];
    const Value* given =
        i < arguments.positional.size() ? &arguments.positional[i] : named_argument(arguments, parameter.name);
    if (given) {
      inner->set(parameter.id, *given);
    } else {
      // Not the variable of that name outside.
      inner->set(parameter.id, Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name)));
      if (parameter.otherwise) missing.push_back(&parameter);
    }
  }
  MOXIE_TRY_VOID(bind_rest(tree_, signature, arguments, *inner));
  const std::shared_ptr<Scope> outer = std::exchange(scope_, inner);
  Result<void> done;
  for (const auto* parameter : missing) {  // a default may use the parameters before it
    auto value = eval(*parameter->otherwise);
    if (!value.ok()) {
      done = std::move(value).error();
      break;
    }
    inner->set(parameter->id, *value);
  }
  scope_ = outer;
  MOXIE_TRY_VOID(done);
  return caught(macro.body, inner);
}

}  // namespace moxie::jinja

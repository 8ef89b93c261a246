// The tests of `is`.
#include <cmath>

#include "chat/jinja/interpreter.h"
#include "chat/jinja/python_text.h"

namespace moxie::jinja {
namespace {

using Check = bool (*)(const Value&);

template <Check check>
Result<bool> plain(Interpreter&, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("test", arguments, {}));
  return check(operand);
}

template <Operator op>
Result<bool> compared(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("test", arguments, {"other"}, 1));
  return compare(interpreter, op, operand, *bound[0]);
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.boolean() != nullptr;
}
bool is_true(const Value& value) {
  return value.boolean() && *value.boolean();
}
bool is_false(const Value& value) {
  return value.boolean() && !*value.boolean();
}
bool is_integer(const Value& value) {
  return value.integer() != nullptr;
}
bool is_float(const Value& value) {
  return value.real() != nullptr;
}
bool is_string(const Value& value) {
  return value.text() != nullptr;
}
bool is_mapping(const Value& value) {
  return value.dict() != nullptr;
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_escaped(const Value& value) {
  return value.text() && value.text()->markup;
}
bool is_callable(const Value& value) {
  return value.is_undefined() || (value.object() && value.object()->callable());
}

bool is_iterable(const Value& value) {
  if (value.object()) {
    const Object::Kind kind = value.object()->kind();
    return kind == Object::Kind::iterator || kind == Object::Kind::view || kind == Object::Kind::range ||
           kind == Object::Kind::loop;
  }
  return value.is_undefined() || value.text() || value.list() || value.dict();
}

bool is_sequence(const Value& value) {
  return value.is_undefined() || value.text() || value.list() || value.dict() ||
         (value.object() && value.object()->kind() == Object::Kind::range);
}

template <bool upper_case>
Result<bool> cased(Interpreter& interpreter, const Value& operand, const Arguments&) {
  MOXIE_TRY(std::string text, interpreter.text_of(operand));
  MOXIE_TRY(const Value is,
            find_text_method(upper_case ? "isupper" : "islower")->function(interpreter, Value(std::move(text)), {}));
  return truth(is);
}

Result<bool> divisible(Interpreter& interpreter, const Value& operand, const Value& by, Int remainder) {
  MOXIE_TRY(const Value rest, arithmetic(interpreter, Operator::mod, operand, by));
  return equal(rest, Value(remainder));
}

Result<bool> odd(Interpreter& interpreter, const Value& operand, const Arguments&) {
  return divisible(interpreter, operand, Value(2), 1);
}

Result<bool> even(Interpreter& interpreter, const Value& operand, const Arguments&) {
  return divisible(interpreter, operand, Value(2), 0);
}

Result<bool> divisible_by(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("divisibleby", arguments, {"num"}, 1));
  return divisible(interpreter, operand, *bound[0], 0);
}

Result<bool> same_as(Interpreter&, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("sameas", arguments, {"other"}, 1));
  return operand.same_object(*bound[0]);
}

Result<bool> is_filter(Interpreter&, const Value& operand, const Arguments&) {
  return operand.text() && find_filter(operand.text()->bytes) != nullptr;
}

Result<bool> is_test(Interpreter&, const Value& operand, const Arguments&) {
  return operand.text() && find_test(operand.text()->bytes) != nullptr;
}

constexpr TestEntry kTests[] = {
    {"!=", compared<Operator::ne>},
    {"<", compared<Operator::lt>},
    {"<=", compared<Operator::lteq>},
    {"==", compared<Operator::eq>},
    {">", compared<Operator::gt>},
    {">=", compared<Operator::gteq>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", divisible_by},
    {"eq", compared<Operator::eq>},
    {"equalto", compared<Operator::eq>},
    {"escaped", plain<is_escaped>},
    {"even", even},
    {"false", plain<is_false>},
    {"filter", is_filter},
    {"float", plain<is_float>},
    {"ge", compared<Operator::gteq>},
    {"greaterthan", compared<Operator::gt>},
    {"gt", compared<Operator::gt>},
    {"in", compared<Operator::in>},
    {"integer", plain<is_integer>},
    {"iterable", plain<is_iterable>},
    {"le", compared<Operator::lteq>},
    {"lessthan", compared<Operator::lt>},
    {"lower", cased<false>},
    {"lt", compared<Operator::lt>},
    {"mapping", plain<is_mapping>},
    {"ne", compared<Operator::ne>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", odd},
    {"sameas", same_as},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", is_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", cased<true>},
};

}  // namespace

const TestEntry* find_test(std::string_view name) {
  for (const TestEntry& entry : kTests) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace moxie::jinja

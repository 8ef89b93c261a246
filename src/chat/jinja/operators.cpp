// Arithmetic, comparisons and membership, as Python has them.
#include <algorithm>
#include <cmath>

#include "chat/jinja/interpreter.h"
#include "chat/jinja/python_text.h"

namespace moxie::jinja {
namespace {

std::string_view symbol(Operator op) {
  switch (op) {
    case Operator::add:
      return "+";
    case Operator::sub:
      return "-";
    case Operator::mul:
      return "*";
    case Operator::div:
      return "/";
    case Operator::floordiv:
      return "//";
    case Operator::mod:
      return "%";
    case Operator::pow:
      return "**";
    case Operator::lt:
      return "<";
    case Operator::lteq:
      return "<=";
    case Operator::gt:
      return ">";
    case Operator::gteq:
      return ">=";
    default:
      return "in";
  }
}

Error no_operator(Operator op, const Value& a, const Value& b) {
  return bad("'{}' is not defined for '{}' and '{}'", symbol(op), type_name(a), type_name(b));
}

Error too_large() {
  return fail(ErrorCode::unsupported, "a whole number beyond 127 bits");
}

Int floor_divide(Int a, Int b) {
  const Int quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Result<Value> integer_power(Int base, Int exponent) {
  if (exponent < 0) {
    if (base == 0) return bad("0 cannot be raised to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  Int result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return too_large();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return too_large();
  }
  return Value(result);
}

Result<Value> of_integers(Operator op, Int a, Int b) {
  Int result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::add:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::sub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::mul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::pow:
      return integer_power(a, b);
    default:
      if (b == 0) return bad("division by zero");
      if (b == -1) {  // the one quotient that may overflow
        if (op == Operator::mod) return Value(0);
        overflow = __builtin_sub_overflow(Int{0}, a, &result);
        if (op == Operator::div) return Value(static_cast<double>(a) / static_cast<double>(b));
      } else if (op == Operator::div) {
        return Value(static_cast<double>(a) / static_cast<double>(b));
      } else {
        result = floor_divide(a, b);
        if (op == Operator::mod) result = a - result * b;
      }
  }
  if (overflow) return too_large();
  return Value(result);
}

Result<Value> of_reals(Operator op, double a, double b) {
  switch (op) {
    case Operator::add:
      return Value(a + b);
    case Operator::sub:
      return Value(a - b);
    case Operator::mul:
      return Value(a * b);
    case Operator::pow:
      if (a == 0 && b < 0) return bad("0.0 cannot be raised to a negative power");
      if (a < 0 && b != std::floor(b)) return bad("a negative number raised to a broken power is no real number");
      return Value(std::pow(a, b));
    default:
      break;
  }
  if (b == 0) return bad("float division by zero");
  if (op == Operator::div) return Value(a / b);
  // As Python: the remainder has the sign of the divisor, the quotient is rounded down.
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == Operator::mod) return Value(remainder);
  if (quotient == 0) return Value(std::copysign(0.0, a / b));
  const double floored = std::floor(quotient);
  return Value(quotient - floored > 0.5 ? floored + 1 : floored);
}

Result<Value> repeat(Interpreter& interpreter, const Value& what, Int times) {
  const uint64_t count = times < 0 ? 0 : times > INT64_MAX ? uint64_t{INT64_MAX} : static_cast<uint64_t>(times);
  const uint64_t size = what.text() ? what.text()->bytes.size() : what.list()->items.size() * sizeof(Value);
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(size, count, &bytes)) bytes = UINT64_MAX / 2;
  MOXIE_TRY_VOID(interpreter.charge_made(bytes));
  if (bytes == 0) {
    if (const Text* text = what.text()) return Value(std::string(), text->markup);
    return what.list()->tuple ? Value::tuple({}) : Value::list({});
  }
  if (const Text* text = what.text()) {
    std::string made;
    made.reserve(bytes);
    for (uint64_t i = 0; i < count; ++i) made += text->bytes;
    return Value(std::move(made), text->markup);
  }
  std::vector<Value> items;
  items.reserve(what.list()->items.size() * count);
  for (uint64_t i = 0; i < count; ++i) {
    items.insert(items.end(), what.list()->items.begin(), what.list()->items.end());
  }
  return what.list()->tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

// What is safe markup makes the other side safe too.
Result<Value> join_texts(Interpreter& interpreter, const Text& a, const Text& b) {
  const bool markup = a.markup || b.markup;
  std::string text = markup && !a.markup ? html_escaped(a.bytes) : a.bytes;
  text += markup && !b.markup ? html_escaped(b.bytes) : b.bytes;
  MOXIE_TRY_VOID(interpreter.charge_made(text.size()));
  return Value(std::move(text), markup);
}

Result<Value> join_lists(Interpreter& interpreter, const List& a, const List& b) {
  MOXIE_TRY_VOID(interpreter.charge_made((a.items.size() + b.items.size()) * sizeof(Value)));
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return a.tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

}  // namespace

Result<Value> arithmetic(Interpreter& interpreter, Operator op, const Value& a, const Value& b) {
  if (op == Operator::mod && a.text()) return percent_format(interpreter, *a.text(), b);
  if (a.is_undefined()) return undefined_error(a);
  if (b.is_undefined()) return undefined_error(b);
  Int x = 0, y = 0;
  const bool whole_a = a.as_int(x), whole_b = b.as_int(y);
  if (whole_a && whole_b) return of_integers(op, x, y);
  double p = 0, q = 0;
  if (a.as_double(p) && b.as_double(q)) return of_reals(op, p, q);
  if (op == Operator::add && a.text() && b.text()) return join_texts(interpreter, *a.text(), *b.text());
  if (op == Operator::add && a.list() && b.list() && a.list()->tuple == b.list()->tuple) {
    return join_lists(interpreter, *a.list(), *b.list());
  }
  if (op == Operator::mul && (a.text() || a.list()) && whole_b) return repeat(interpreter, a, y);
  if (op == Operator::mul && (b.text() || b.list()) && whole_a) return repeat(interpreter, b, x);
  return no_operator(op, a, b);
}

Result<Value> negate(const Value& value) {
  Int whole = 0;
  if (value.as_int(whole)) {
    if (__builtin_sub_overflow(Int{0}, whole, &whole)) return too_large();
    return Value(whole);
  }
  if (value.real()) return Value(-*value.real());
  if (value.is_undefined()) return undefined_error(value);
  return bad("bad operand type for unary -: '{}'", type_name(value));
}

Result<Value> plus(const Value& value) {
  Int whole = 0;
  if (value.as_int(whole)) return Value(whole);
  if (value.real()) return value;
  if (value.is_undefined()) return undefined_error(value);
  return bad("bad operand type for unary +: '{}'", type_name(value));
}

Result<bool> less(const Value& a, const Value& b) {
  Int x = 0, y = 0;
  if (a.as_int(x) && b.as_int(y)) return x < y;
  double p = 0, q = 0;
  if (a.as_double(p) && b.as_double(q)) return p < q;
  if (a.text() && b.text()) return a.text()->bytes < b.text()->bytes;  // UTF-8 sorts as code points do
  if (a.list() && b.list() && a.list()->tuple == b.list()->tuple) {
    const auto &left = a.list()->items, &right = b.list()->items;
    for (size_t i = 0; i < left.size() && i < right.size(); ++i) {
      if (!equal(left[i], right[i])) return less(left[i], right[i]);
    }
    return left.size() < right.size();
  }
  if (a.is_undefined()) return undefined_error(a);
  if (b.is_undefined()) return undefined_error(b);
  return no_operator(Operator::lt, a, b);
}

Result<bool> contains(Interpreter& interpreter, const Value& in, const Value& element) {
  if (const Text* text = in.text()) {
    if (!element.text()) return bad("'in <string>' requires string as left operand, not {}", type_name(element));
    MOXIE_TRY_VOID(interpreter.charge(text->bytes.size()));
    return text->bytes.find(element.text()->bytes) != std::string::npos;
  }
  if (const Dict* dict = in.dict()) {
    if (!hashable(element)) return bad("unhashable type: '{}'", type_name(element));
    MOXIE_TRY_VOID(interpreter.charge(element.text() ? 0 : dict->entries.size()));
    return dict->find(element) != nullptr;
  }
  MOXIE_TRY(const std::vector<Value> items, interpreter.items(in));
  const uint64_t weight = element.extent().weight;
  for (const Value& item : items) {
    MOXIE_TRY_VOID(interpreter.charge(std::min(weight, item.extent().weight)));
    if (equal(item, element)) return true;
  }
  return false;
}

Result<bool> compare(Interpreter& interpreter, Operator op, const Value& a, const Value& b) {
  if (op == Operator::in || op == Operator::notin) {
    MOXIE_TRY(const bool found, contains(interpreter, b, a));
    return found == (op == Operator::in);
  }
  MOXIE_TRY_VOID(interpreter.charge(std::min(a.extent().weight, b.extent().weight)));
  if (op == Operator::eq) return equal(a, b);
  if (op == Operator::ne) return !equal(a, b);
  const bool swapped = op == Operator::gt || op == Operator::lteq;
  const bool or_equal = op == Operator::lteq || op == Operator::gteq;
  double p = 0, q = 0;
  if (or_equal && a.as_double(p) && b.as_double(q) && (std::isnan(p) || std::isnan(q))) return false;
  auto is_less = swapped ? less(b, a) : less(a, b);
  if (!is_less.ok() && !a.is_undefined() && !b.is_undefined()) return no_operator(op, a, b);
  MOXIE_TRY(const bool result, std::move(is_less));
  return or_equal ? !result : result;
}

Result<Int> length_of(const Value& value) {
  if (value.is_undefined()) return Int{0};
  if (value.text()) return static_cast<Int>(value.text()->length);
  if (value.list()) return static_cast<Int>(value.list()->items.size());
  if (value.dict()) return static_cast<Int>(value.dict()->entries.size());
  if (const auto* range = object_as<Range>(value, Object::Kind::range)) return Int{range->size()};
  if (const auto* view = object_as<DictView>(value, Object::Kind::view)) return static_cast<Int>(view->size());
  return bad("object of type '{}' has no len(){}", type_name(value),
             value.object() && value.object()->kind() == Object::Kind::iterator
                 ? "; make it a list with the filter 'list'"
                 : "");
}

namespace {

// start, stop and step of a slice of `length` elements, as Python's slice.indices().
struct Indices {
  int64_t start, stop, step;
};

Result<std::optional<int64_t>> slice_part(const Value* part) {
  Int whole = 0;
  if (!part || part->is_none()) return std::optional<int64_t>();
  if (part->is_undefined() || !part->as_int(whole)) {
    return bad("slice indices must be integers or None, not {}", type_name(*part));
  }
  return std::optional<int64_t>(static_cast<int64_t>(std::clamp<Int>(whole, -(Int{1} << 40), Int{1} << 40)));
}

Result<Indices> slice_indices(int64_t length, const Value* start, const Value* stop, const Value* step) {
  MOXIE_TRY(const auto from, slice_part(start));
  MOXIE_TRY(const auto to, slice_part(stop));
  MOXIE_TRY(const auto by, slice_part(step));
  Indices made{0, 0, by.value_or(1)};
  if (made.step == 0) return bad("slice step cannot be zero");
  const int64_t lowest = made.step < 0 ? -1 : 0, highest = made.step < 0 ? length - 1 : length;
  const auto place = [&](std::optional<int64_t> at, int64_t otherwise) {
    if (!at) return otherwise;
    return std::clamp(*at < 0 ? *at + length : *at, lowest, highest);
  };
  made.start = place(from, made.step < 0 ? highest : lowest);
  made.stop = place(to, made.step < 0 ? lowest : highest);
  return made;
}

int64_t slice_size(const Indices& at) {
  return Range(at.start, at.stop, at.step).size();
}

Value slice_text(const Text& text, const Indices& at) {
  const int64_t count = slice_size(at);
  if (at.step == 1) {
    const size_t begin = byte_of(text.bytes, static_cast<size_t>(at.start), text.ascii);
    const std::string_view rest = std::string_view(text.bytes).substr(begin);
    return Value(std::string(rest.substr(0, byte_of(rest, static_cast<size_t>(count), text.ascii))), text.markup);
  }
  const std::vector<std::string_view> all = characters(text.bytes);
  std::string made;
  for (int64_t i = 0; i < count; ++i) made += all[static_cast<size_t>(at.start + i * at.step)];
  return Value(std::move(made), text.markup);
}

}  // namespace

Result<Value> slice(Interpreter& interpreter, const Value& of, const Value* start, const Value* stop,
                    const Value* step) {
  if (of.is_undefined()) return undefined_error(of);
  MOXIE_TRY_VOID(interpreter.charge_made(of.text() ? of.text()->bytes.size() : 0));
  if (const Text* text = of.text()) {
    MOXIE_TRY(const Indices at, slice_indices(static_cast<int64_t>(text->length), start, stop, step));
    return slice_text(*text, at);
  }
  if (const List* list = of.list()) {
    MOXIE_TRY(const Indices at, slice_indices(static_cast<int64_t>(list->items.size()), start, stop, step));
    const int64_t count = slice_size(at);
    MOXIE_TRY_VOID(interpreter.charge_made(static_cast<uint64_t>(count) * sizeof(Value)));
    std::vector<Value> items;
    for (int64_t i = 0; i < count; ++i) items.push_back(list->items[static_cast<size_t>(at.start + i * at.step)]);
    return list->tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
  }
  if (const auto* range = object_as<Range>(of, Object::Kind::range)) {
    MOXIE_TRY(const Indices at, slice_indices(range->size(), start, stop, step));
    int64_t step_made = 0;
    if (__builtin_mul_overflow(at.step, range->step(), &step_made)) {  // beyond any range: one number at most is left
      step_made = (at.step < 0) == (range->step() < 0) ? INT64_MAX / 2 : INT64_MIN / 2;
    }
    return Value(std::shared_ptr<Object>(std::make_shared<Range>(range->start() + at.start * range->step(),
                                                                 range->start() + at.stop * range->step(), step_made)));
  }
  return bad("'{}' object has no slices", type_name(of));
}

}  // namespace moxie::jinja

// The methods of dicts, lists, tuples, ranges and numbers.
#include <algorithm>
#include <cmath>

#include "chat/jinja/interpreter.h"

namespace moxie::jinja {
namespace {

Result<Value> dict_get(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("get", arguments, {"key", "default"}, 1));
  if (!arguments.named.empty()) return bad("dict.get() takes no keyword arguments");
  if (!hashable(*bound[0])) return bad("unhashable type: '{}'", type_name(*bound[0]));
  MOXIE_TRY_VOID(interpreter.charge(bound[0]->text() ? 0 : self.dict()->entries.size()));
  if (const Value* found = self.dict()->find(*bound[0])) return *found;
  return bound[1] ? *bound[1] : Value(None{});
}

template <DictView::Part part>
Result<Value> dict_view(Interpreter&, const Value& self, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("dict method", arguments, {}));
  return Value(std::shared_ptr<Object>(std::make_shared<DictView>(self, part)));
}

Result<Value> dict_fromkeys(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("fromkeys", arguments, {"iterable", "value"}, 1));
  MOXIE_TRY(const std::vector<Value> keys, interpreter.items(*bound[0]));
  DictBuilder dict;
  for (const Value& key : keys) {
    if (!hashable(key)) return bad("unhashable type: '{}'", type_name(key));
    dict.set(key, bound[1] ? *bound[1] : Value(None{}));
  }
  return dict.finish();
}

Result<Value> copy(Interpreter&, const Value& self, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("copy", arguments, {}));
  return self;  // nothing can change it
}

Result<Value> sequence_count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("count", arguments, {"value"}, 1));
  MOXIE_TRY(const std::vector<Value> items, interpreter.items(self));
  Int count = 0;
  for (const Value& item : items) {
    MOXIE_TRY_VOID(interpreter.charge(std::min(item.extent().weight, bound[0]->extent().weight)));
    if (equal(item, *bound[0])) ++count;
  }
  return Value(count);
}

Result<Value> sequence_index(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("index", arguments, {"value", "start", "stop"}, 1));
  MOXIE_TRY(const std::vector<Value> items, interpreter.items(self));
  const auto size = static_cast<int64_t>(items.size());
  int64_t from = 0, to = size;
  if (bound[1]) {
    MOXIE_TRY(from, int_argument("index", "start", *bound[1]));
  }
  if (bound[2]) {
    MOXIE_TRY(to, int_argument("index", "stop", *bound[2]));
  }
  from = from < 0 ? std::max<int64_t>(from + size, 0) : from;
  to = to < 0 ? to + size : std::min(to, size);
  for (int64_t i = from; i < to; ++i) {
    const Value& item = items[static_cast<size_t>(i)];
    MOXIE_TRY_VOID(interpreter.charge(std::min(item.extent().weight, bound[0]->extent().weight)));
    if (equal(item, *bound[0])) return Value(Int{i});
  }
  return bad("{} is not in list", to_repr(*bound[0]));
}

Result<Value> bit_length(Interpreter&, const Value& self, const Arguments&) {
  Int whole = 0;
  self.as_int(whole);
  Int bits = 0;
  for (; whole != 0; whole /= 2) ++bits;
  return Value(bits);
}

Result<Value> float_is_integer(Interpreter&, const Value& self, const Arguments&) {
  return Value(std::isfinite(*self.real()) && *self.real() == std::floor(*self.real()));
}

constexpr MethodEntry kDictMethods[] = {
    {"get", dict_get},
    {"items", dict_view<DictView::Part::items>},
    {"keys", dict_view<DictView::Part::keys>},
    {"values", dict_view<DictView::Part::values>},
    {"copy", copy},
    {"fromkeys", dict_fromkeys},
};
constexpr MethodEntry kListMethods[] = {{"count", sequence_count}, {"index", sequence_index}, {"copy", copy}};
constexpr MethodEntry kTupleMethods[] = {{"count", sequence_count}, {"index", sequence_index}};
constexpr MethodEntry kIntMethods[] = {{"bit_length", bit_length}, {"conjugate", copy}};
constexpr MethodEntry kFloatMethods[] = {{"is_integer", float_is_integer}, {"conjugate", copy}};

}  // namespace

const MethodEntry* find_value_method(const Value& of, std::string_view name) {
  std::span<const MethodEntry> methods;
  if (of.dict()) methods = kDictMethods;
  if (of.list()) methods = of.list()->tuple ? std::span<const MethodEntry>(kTupleMethods) : kListMethods;
  if (of.integer() || of.boolean()) methods = kIntMethods;
  if (of.real()) methods = kFloatMethods;
  if (of.object() && of.object()->kind() == Object::Kind::range) methods = kTupleMethods;
  for (const MethodEntry& entry : methods) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace moxie::jinja

// Filters that go through lists and dicts.
#include <algorithm>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/python_text.h"

namespace moxie::jinja {
namespace {

// What "a.b.0" names within an element: user.name, pair.1.
class Getter {
 public:
  explicit Getter(const Value* attribute, const Value* otherwise = nullptr)
      : otherwise_(otherwise && !otherwise->is_none() ? otherwise : nullptr) {
    if (!attribute || attribute->is_none()) return;
    if (!attribute->text()) {
      parts_.push_back(*attribute);
      return;
    }
    for (std::string& part : split(attribute->text()->bytes, ".", -1)) {
      Int index = 0;
      bool digits = !part.empty() && part.size() < 18;
      for (size_t i = 0; digits && i < part.size(); ++i) {
        digits = part[i] >= '0' && part[i] <= '9';
        index = index * 10 + (part[i] - '0');
      }
      parts_.push_back(digits ? Value(index) : Value(std::move(part)));
    }
  }

  Result<Value> operator()(Interpreter& interpreter, const Value& element) const {
    Value value = element;
    for (const Value& part : parts_) {
      MOXIE_TRY_VOID(interpreter.charge(0));
      MOXIE_TRY(value, interpreter.item(value, part));
      if (otherwise_ && value.is_undefined()) value = *otherwise_;
    }
    return value;
  }

 private:
  std::vector<Value> parts_;
  const Value* otherwise_;
};

// Text compares without case unless asked otherwise.
Result<Value> sort_key(Interpreter& interpreter, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.text()) return value;
  MOXIE_TRY_VOID(interpreter.charge_made(value.text()->bytes.size()));
  return Value(lower(value.text()->bytes));
}

struct Keyed {
  Value key, value;
};

// Stable; merges, since comparing may fail.
Result<void> merge_sort(Interpreter& interpreter, std::span<Keyed> items, std::vector<Keyed>& room) {
  if (items.size() < 2) return {};
  const auto left = items.first(items.size() / 2), right = items.subspan(items.size() / 2);
  MOXIE_TRY_VOID(merge_sort(interpreter, left, room));
  MOXIE_TRY_VOID(merge_sort(interpreter, right, room));
  room.assign(items.begin(), items.end());
  size_t a = 0, b = left.size();
  for (Keyed& place : items) {
    bool second = a == left.size();
    if (!second && b < room.size()) {
      MOXIE_TRY_VOID(interpreter.charge(std::min(room[a].key.extent().weight, room[b].key.extent().weight)));
      MOXIE_TRY(second, less(room[b].key, room[a].key));
    }
    place = room[second ? b++ : a++];
  }
  return {};
}

Result<std::vector<Value>> sorted(Interpreter& interpreter, std::vector<Keyed> items, bool reverse) {
  MOXIE_TRY_VOID(interpreter.charge_made(items.size() * sizeof(Keyed)));
  if (reverse) std::reverse(items.begin(), items.end());
  std::vector<Keyed> room;
  MOXIE_TRY_VOID(merge_sort(interpreter, items, room));
  if (reverse) std::reverse(items.begin(), items.end());
  std::vector<Value> values;
  for (Keyed& item : items) values.push_back(std::move(item.value));
  return values;
}

bool is_true(const Value* value) {
  return value && truth(*value);
}

Result<Value> sort_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  std::vector<Getter> getters;
  std::vector<Value> names;
  if (bound[2] && bound[2]->text()) {
    for (std::string& name : split(bound[2]->text()->bytes, ",", -1)) names.emplace_back(std::move(name));
  } else if (bound[2]) {
    names.push_back(*bound[2]);
  } else {
    names.emplace_back(None{});
  }
  for (const Value& name : names) getters.emplace_back(&name);
  std::vector<Keyed> keyed;
  for (const Value& element : elements) {
    std::vector<Value> keys;
    for (const Getter& getter : getters) {
      MOXIE_TRY(const Value value, getter(interpreter, element));
      MOXIE_TRY(Value key, sort_key(interpreter, value, is_true(bound[1])));
      keys.push_back(std::move(key));
    }
    keyed.push_back({keys.size() == 1 ? keys[0] : Value::list(std::move(keys)), element});
  }
  MOXIE_TRY(std::vector<Value> values, sorted(interpreter, std::move(keyed), is_true(bound[0])));
  return Value::list(std::move(values));
}

Result<Value> dict_sort(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  const std::string by = bound[1] ? to_text(*bound[1]) : "key";
  if (by != "key" && by != "value") return bad("You can only sort by either \"key\" or \"value\"");
  if (operand.is_undefined()) return undefined_error(operand);
  if (!operand.dict()) return bad("'{}' object has no attribute 'items'", type_name(operand));
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : operand.dict()->entries) {
    MOXIE_TRY(Value sorts, sort_key(interpreter, by == "key" ? key : value, is_true(bound[0])));
    keyed.push_back({std::move(sorts), Value::tuple({key, value})});
  }
  MOXIE_TRY(std::vector<Value> values, sorted(interpreter, std::move(keyed), is_true(bound[2])));
  return Value::list(std::move(values));
}

Result<Value> group_by(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  const Getter getter(bound[0], bound[1]);
  std::vector<Keyed> keyed;
  for (const Value& element : elements) {
    MOXIE_TRY(const Value value, getter(interpreter, element));
    MOXIE_TRY(Value key, sort_key(interpreter, value, is_true(bound[2])));
    keyed.push_back({key, Value::tuple({key, value, element})});
  }
  MOXIE_TRY(const std::vector<Value> ordered, sorted(interpreter, std::move(keyed), false));
  std::vector<Value> groups, members;
  for (size_t i = 0; i < ordered.size(); ++i) {
    const auto& now = ordered[i].list()->items;
    members.push_back(now[2]);
    if (i + 1 < ordered.size() && equal(now[0], ordered[i + 1].list()->items[0])) continue;
    MOXIE_TRY(Value name, getter(interpreter, members[0]));  // as the first one writes it
    groups.push_back(Value::group(std::move(name), std::exchange(members, {})));
  }
  return Value::list(std::move(groups));
}

Result<Value> unique(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("unique", arguments, {"case_sensitive", "attribute"}));
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  const Getter getter(bound[1]);
  std::vector<Value> kept, seen;
  for (const Value& element : elements) {
    MOXIE_TRY(const Value value, getter(interpreter, element));
    MOXIE_TRY(Value key, sort_key(interpreter, value, is_true(bound[0])));
    if (!hashable(key)) return bad("unhashable type: '{}'", type_name(key));
    bool known = false;
    for (const Value& other : seen) {
      MOXIE_TRY_VOID(interpreter.charge(std::min(other.extent().weight, key.extent().weight)));
      known = known || equal(other, key);
      if (known) break;
    }
    if (known) continue;
    seen.push_back(std::move(key));
    kept.push_back(element);
  }
  return make_iterator(std::move(kept));
}

template <bool largest>
Result<Value> extreme(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind(largest ? "max" : "min", arguments, {"case_sensitive", "attribute"}));
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  if (elements.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const Getter getter(bound[1]);
  Value best, best_key;
  for (size_t i = 0; i < elements.size(); ++i) {
    MOXIE_TRY(const Value value, getter(interpreter, elements[i]));
    MOXIE_TRY(const Value key, sort_key(interpreter, value, is_true(bound[0])));
    bool better = i == 0;
    if (!better) {
      MOXIE_TRY(better, largest ? less(best_key, key) : less(key, best_key));
    }
    if (!better) continue;
    best = elements[i];
    best_key = key;
  }
  return best;
}

Result<Value> sum_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("sum", arguments, {"attribute", "start"}));
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  const Getter getter(bound[0]);
  Value sum = bound[1] ? *bound[1] : Value(0);
  if (sum.text()) return bad("sum() can't sum strings");
  for (const Value& element : elements) {
    MOXIE_TRY(const Value value, getter(interpreter, element));
    MOXIE_TRY(sum, arithmetic(interpreter, Operator::add, sum, value));
  }
  return sum;
}

Result<Value> join_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("join", arguments, {"d", "attribute"}));
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  const Getter getter(bound[1]);
  std::string separator, text;
  if (bound[0]) {
    MOXIE_TRY(separator, interpreter.text_of(*bound[0]));
  }
  for (size_t i = 0; i < elements.size(); ++i) {
    MOXIE_TRY(const Value value, getter(interpreter, elements[i]));
    MOXIE_TRY(const std::string part, interpreter.text_of(value));
    MOXIE_TRY_VOID(interpreter.charge_made(part.size() + separator.size()));
    if (i > 0) text += separator;
    text += part;
  }
  return Value(std::move(text));
}

Result<Value> length_filter(Interpreter&, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("length", arguments, {}));
  MOXIE_TRY(const Int length, length_of(operand));
  return Value(length);
}

Result<Value> default_filter(Interpreter&, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("default", arguments, {"default_value", "boolean"}));
  if (operand.is_undefined() || (is_true(bound[1]) && !truth(operand))) return bound[0] ? *bound[0] : Value("");
  return operand;
}

Result<Value> first_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("first", arguments, {}));
  const Value none = Value::undefined("No first item, sequence was empty.");
  if (auto* iterator = object_as<Iterator>(operand, Object::Kind::iterator)) {
    Value value;
    return iterator->next(value) ? value : none;
  }
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  return elements.empty() ? none : elements.front();
}

bool is_iterator(const Value& value) {
  return value.object() && value.object()->kind() == Object::Kind::iterator;
}

Result<Value> last_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("last", arguments, {}));
  if (is_iterator(operand)) return bad("'generator' object is not reversible; make it a list with the filter 'list'");
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  return elements.empty() ? Value::undefined("No last item, sequence was empty.") : elements.back();
}

Result<Value> list_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("list", arguments, {}));
  MOXIE_TRY(std::vector<Value> elements, interpreter.items(operand));
  return Value::list(std::move(elements));
}

Result<Value> items_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("items", arguments, {}));
  if (operand.is_undefined()) return make_iterator({});
  if (!operand.dict()) return bad("Can only get item pairs from a mapping.");
  MOXIE_TRY_VOID(interpreter.charge_made(operand.dict()->entries.size() * 4 * sizeof(Value)));
  return make_iterator(DictView(operand, DictView::Part::items).items());
}

Result<Value> reverse_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("reverse", arguments, {}));
  MOXIE_TRY(std::vector<Value> elements, interpreter.items(operand));
  std::reverse(elements.begin(), elements.end());
  if (is_iterator(operand)) return Value::list(std::move(elements));
  if (!operand.text()) return make_iterator(std::move(elements), "list_reverseiterator");
  std::string text;
  for (const Value& character : elements) text += character.text()->bytes;
  return Value(std::move(text), operand.text()->markup);
}

Result<Value> batch(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("batch", arguments, {"linecount", "fill_with"}, 1));
  MOXIE_TRY(const int64_t size, int_argument("batch", "linecount", *bound[0]));
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  std::vector<Value> rows, row;
  for (const Value& element : elements) {
    if (static_cast<int64_t>(row.size()) == size) rows.push_back(Value::list(std::exchange(row, {})));
    row.push_back(element);
  }
  if (!row.empty()) {
    if (bound[1] && !bound[1]->is_none() && static_cast<int64_t>(row.size()) < size) {
      MOXIE_TRY_VOID(interpreter.charge_made(static_cast<uint64_t>(std::min<int64_t>(size, 1 << 30)) * sizeof(Value)));
      row.resize(static_cast<size_t>(size), *bound[1]);
    }
    rows.push_back(Value::list(std::move(row)));
  }
  return make_iterator(std::move(rows));
}

Result<Value> slice_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("slice", arguments, {"slices", "fill_with"}, 1));
  MOXIE_TRY(const int64_t slices, int_argument("slice", "slices", *bound[0]));
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  if (slices == 0) return bad("integer division or modulo by zero");
  if (slices < 0) return make_iterator({});
  MOXIE_TRY_VOID(interpreter.charge_made(static_cast<uint64_t>(std::min<int64_t>(slices, 1 << 30)) * 64));
  const auto size = static_cast<int64_t>(elements.size());
  std::vector<Value> all;
  auto next = elements.begin();
  for (int64_t i = 0; i < slices; ++i) {
    const bool longer = i < size % slices;
    const auto end = next + static_cast<std::ptrdiff_t>(size / slices + (longer ? 1 : 0));
    std::vector<Value> one(next, end);
    next = end;
    if (!longer && bound[1] && !bound[1]->is_none()) one.push_back(*bound[1]);
    all.push_back(Value::list(std::move(one)));
  }
  return make_iterator(std::move(all));
}

Result<Value> attr_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("attr", arguments, {"name"}, 1));
  if (!bound[0]->text()) return bad("attribute name must be string, not '{}'", type_name(*bound[0]));
  if (operand.is_undefined()) return undefined_error(operand);
  const std::string& name = bound[0]->text()->bytes;
  // Attributes only, no elements.
  if (operand.dict() && !find_value_method(operand, name)) {
    return Value::undefined(fmt::format("'dict object' has no attribute '{}'", name));
  }
  return interpreter.attribute(operand, name);
}

Result<Value> map_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  if (!truth(operand)) return make_iterator({});
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  std::vector<Value> made;
  if (arguments.positional.empty()) {
    MOXIE_TRY(const auto bound, bind("map", arguments, {"attribute", "default"}));
    if (!bound[0]) return bad("map requires a filter argument");
    const Getter getter(bound[0], bound[1]);
    for (const Value& element : elements) {
      MOXIE_TRY(Value value, getter(interpreter, element));
      made.push_back(std::move(value));
    }
    return make_iterator(std::move(made));
  }
  Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
  MOXIE_TRY(const std::string name, interpreter.text_of(arguments.positional[0]));
  for (const Value& element : elements) {
    MOXIE_TRY(Value value, interpreter.filter(name, element, rest));
    made.push_back(std::move(value));
  }
  return make_iterator(std::move(made));
}

template <bool keeps, bool by_attribute>
Result<Value> choose(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  if (!truth(operand)) return make_iterator({});
  constexpr size_t kTest = by_attribute ? 1 : 0;
  if (arguments.positional.size() < kTest) return bad("Missing parameter for attribute name");
  const Getter getter(by_attribute ? &arguments.positional[0] : nullptr);
  const bool tests = arguments.positional.size() > kTest;
  std::string name;
  Arguments rest;
  if (tests) {
    MOXIE_TRY(name, interpreter.text_of(arguments.positional[kTest]));
    rest.positional.assign(arguments.positional.begin() + kTest + 1, arguments.positional.end());
    rest.named = arguments.named;
  }
  MOXIE_TRY(const std::vector<Value> elements, interpreter.items(operand));
  std::vector<Value> kept;
  for (const Value& element : elements) {
    MOXIE_TRY(const Value value, getter(interpreter, element));
    bool passes = truth(value);
    if (tests) {
      MOXIE_TRY(passes, interpreter.test(name, value, rest));
    }
    if (passes == keeps) kept.push_back(element);
  }
  return make_iterator(std::move(kept));
}

constexpr FilterEntry kSequenceFilters[] = {
    {"attr", attr_filter},
    {"batch", batch},
    {"count", length_filter},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dict_sort},
    {"first", first_filter},
    {"groupby", group_by},
    {"items", items_filter},
    {"join", join_filter},
    {"last", last_filter},
    {"length", length_filter},
    {"list", list_filter},
    {"map", map_filter},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", choose<false, false>},
    {"rejectattr", choose<false, true>},
    {"reverse", reverse_filter},
    {"select", choose<true, false>},
    {"selectattr", choose<true, true>},
    {"slice", slice_filter},
    {"sort", sort_filter},
    {"sum", sum_filter},
    {"unique", unique},
};

}  // namespace

std::span<const FilterEntry> sequence_filters() {
  return kSequenceFilters;
}

const FilterEntry* find_filter(std::string_view name) {
  for (const auto& filters : {text_filters(), sequence_filters()}) {
    for (const FilterEntry& entry : filters) {
      if (entry.name == name) return &entry;
    }
  }
  return nullptr;
}

}  // namespace moxie::jinja

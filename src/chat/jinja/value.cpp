#include "chat/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "chat/jinja/python_text.h"
#include "core/fail.h"
#include "text/detokenizer.h"

namespace moxie::jinja {
namespace {

constexpr size_t kIndexedFrom = 16;  // entries of a dict

std::shared_ptr<const List> make_list(std::vector<Value> items, bool tuple, bool group = false) {
  const Extent extent = around(items);
  return std::make_shared<const List>(List{std::move(items), tuple, group, extent});
}

}  // namespace

Extent around(std::span<const Value> inner) {
  Extent extent{1, 1};
  for (const Value& item : inner) extent.add(item.extent());
  return extent;
}

Extent around(const Value& inner) {
  return around(std::span(&inner, 1));
}

Value::Value(std::string text, bool markup) {
  auto made = std::make_shared<Text>();
  made->ascii = is_ascii(text);
  made->length = made->ascii ? text.size() : count_characters(text);
  made->markup = markup;
  made->bytes = std::move(text);
  data_ = std::shared_ptr<const Text>(std::move(made));
}

Value Value::undefined(std::string message) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(message))};
  return value;
}

Value Value::list(std::vector<Value> items) {
  Value value;
  value.data_ = make_list(std::move(items), false);
  return value;
}

Value Value::tuple(std::vector<Value> items) {
  Value value;
  value.data_ = make_list(std::move(items), true);
  return value;
}

Value Value::group(Value grouper, std::vector<Value> members) {
  Value value;
  value.data_ = make_list({std::move(grouper), list(std::move(members))}, true, true);
  return value;
}

Object* Value::object() const {
  const auto* found = std::get_if<std::shared_ptr<Object>>(&data_);
  return found ? found->get() : nullptr;
}

std::shared_ptr<Object> Value::shared_object() const {
  const auto* found = std::get_if<std::shared_ptr<Object>>(&data_);
  return found ? *found : nullptr;
}

std::string_view Value::undefined_message() const {
  const auto* found = std::get_if<Undefined>(&data_);
  return found && found->message ? std::string_view(*found->message) : "the value is undefined";
}

bool Value::as_int(Int& to) const {
  if (const bool* truth = boolean()) return to = *truth ? 1 : 0, true;
  if (const Int* number = integer()) return to = *number, true;
  return false;
}

bool Value::as_double(double& to) const {
  Int whole = 0;
  if (const double* number = real()) return to = *number, true;
  if (as_int(whole)) return to = static_cast<double>(whole), true;
  return false;
}

Extent Value::extent() const {
  if (const Text* t = text()) return {0, t->bytes.size() + 1};
  if (const List* l = list()) return l->extent;
  if (const Dict* d = dict()) return d->extent;
  if (const Object* o = object()) return o->extent();
  return {};
}

bool Value::same_object(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (list()) return list() == other.list();
  if (dict()) return dict() == other.dict();
  if (object()) return object() == other.object();
  if (text()) return text() == other.text() || (text()->length <= 1 && equal(*this, other));
  return is_undefined() ? false : equal(*this, other);
}

const Value* Dict::find(std::string_view key) const {
  if (entries.size() > kIndexedFrom) {
    const auto found = texts.find(key);
    return found == texts.end() ? nullptr : &entries[found->second].second;
  }
  for (const auto& [name, value] : entries) {
    if (name.text() && name.text()->bytes == key) return &value;
  }
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  if (key.text()) return find(std::string_view(key.text()->bytes));
  for (const auto& [name, value] : entries) {
    if (!name.text() && equal(name, key)) return &value;
  }
  return nullptr;
}

void DictBuilder::set(Value key, Value value) {
  dict_->extent.add(key.extent());
  dict_->extent.add(value.extent());
  if (const Value* found = dict_->find(key)) {
    *const_cast<Value*>(found) = std::move(value);  // the dict is still ours alone
    return;
  }
  dict_->entries.emplace_back(std::move(key), std::move(value));
  const size_t size = dict_->entries.size();
  if (size <= kIndexedFrom) return;
  // The views stay valid: they point into the shared texts.
  for (size_t i = size == kIndexedFrom + 1 ? 0 : size - 1; i < size; ++i) {
    if (const Text* text = dict_->entries[i].first.text()) dict_->texts.emplace(text->bytes, i);
  }
}

Value DictBuilder::finish() {
  return std::shared_ptr<const Dict>(std::move(dict_));
}

std::string Object::repr() const {
  return fmt::format("<{} object>", type_name());
}

Result<Value> Object::call(Interpreter&, const Arguments&) {
  return fail(ErrorCode::unsupported, "'{}' object is not callable", type_name());
}

Result<Value> Object::attribute(Interpreter&, std::string_view name) {
  return Value::undefined(fmt::format("'{}' object has no attribute '{}'", type_name(), name));
}

Iterator::Iterator(std::vector<Value> items, std::string_view type_name)
    : Object(Kind::iterator, around(items)), items_(std::move(items)), type_name_(type_name) {}

bool Iterator::next(Value& to) {
  if (at_ >= items_.size()) return false;
  to = items_[at_++];
  return true;
}

std::vector<Value> Iterator::take() {
  items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(at_));
  at_ = 0;
  return std::exchange(items_, {});
}

Value make_iterator(std::vector<Value> items, std::string_view type_name) {
  return std::shared_ptr<Object>(std::make_shared<Iterator>(std::move(items), type_name));
}

std::string_view DictView::type_name() const {
  return part_ == Part::keys ? "dict_keys" : part_ == Part::values ? "dict_values" : "dict_items";
}

std::vector<Value> DictView::items() const {
  std::vector<Value> all;
  all.reserve(size());
  for (const auto& [key, value] : dict_.dict()->entries) {
    all.push_back(part_ == Part::keys ? key : part_ == Part::values ? value : Value::tuple({key, value}));
  }
  return all;
}

std::string DictView::repr() const {
  return fmt::format("{}({})", type_name(), to_repr(Value::list(items())));
}

int64_t Range::size() const {
  if (step_ > 0) return start_ < stop_ ? (stop_ - start_ - 1) / step_ + 1 : 0;
  return start_ > stop_ ? (start_ - stop_ - 1) / -step_ + 1 : 0;
}

std::string Range::repr() const {
  return step_ == 1 ? fmt::format("range({}, {})", start_, stop_)
                    : fmt::format("range({}, {}, {})", start_, stop_, step_);
}

std::vector<Value> Range::items() const {
  std::vector<Value> all;
  const int64_t count = size();
  all.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) all.push_back(at(i));
  return all;
}

// What it holds is not shown: it may hold itself.
std::string Namespace::repr() const {
  return "<Namespace>";
}

Result<Value> Namespace::attribute(Interpreter& interpreter, std::string_view name) {
  for (const auto& [key, value] : attributes_) {
    if (key == name) return value;
  }
  return Object::attribute(interpreter, name);
}

void Namespace::set(const std::string& name, Value value) {
  for (auto& [key, old] : attributes_) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  attributes_.emplace_back(name, std::move(value));
}

std::string_view type_name(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.boolean()) return "bool";
  if (value.integer()) return "int";
  if (value.real()) return "float";
  if (const Text* text = value.text()) return text->markup ? "Markup" : "str";
  if (const List* list = value.list()) return list->tuple ? "tuple" : "list";
  if (value.dict()) return "dict";
  return value.object()->type_name();
}

bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.boolean()) return *value.boolean();
  if (value.integer()) return *value.integer() != 0;
  if (value.real()) return *value.real() != 0;
  if (value.text()) return !value.text()->bytes.empty();
  if (value.list()) return !value.list()->items.empty();
  if (value.dict()) return !value.dict()->entries.empty();
  if (const auto* range = object_as<Range>(value, Object::Kind::range)) return range->size() > 0;
  if (const auto* view = object_as<DictView>(value, Object::Kind::view)) return view->size() > 0;
  return true;
}

std::string int_text(Int value) {
  return fmt::format("{}", value);
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[40];
  // Shortest digits that read back as the same number, then laid out as Python does.
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific).ptr;
  const std::string_view text(digits, static_cast<size_t>(end - digits));
  const size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), text.data() + text.size(), exponent);
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}e{}{:02}", text.substr(0, e), exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  char plain[64];
  const auto plain_end = std::to_chars(plain, plain + sizeof plain, value, std::chars_format::fixed).ptr;
  std::string result(plain, static_cast<size_t>(plain_end - plain));
  if (result.find('.') == std::string::npos) result += ".0";
  return result;
}

std::string to_text(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.text()) return value.text()->bytes;
  return to_repr(value);
}

std::string to_repr(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (value.boolean()) return *value.boolean() ? "True" : "False";
  if (value.integer()) return int_text(*value.integer());
  if (value.real()) return float_repr(*value.real());
  if (const Text* text = value.text()) {
    return text->markup ? fmt::format("Markup({})", in_quotes(text->bytes)) : in_quotes(text->bytes);
  }
  if (const List* list = value.list()) {
    std::string to(1, list->tuple ? '(' : '[');
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) to += ", ";
      to += to_repr(list->items[i]);
    }
    if (list->tuple && list->items.size() == 1) to += ',';
    return to + (list->tuple ? ')' : ']');
  }
  if (const Dict* dict = value.dict()) {
    std::string to = "{";
    for (const auto& [key, item] : dict->entries) {
      if (to.size() > 1) to += ", ";
      to += to_repr(key);
      to += ": ";
      to += to_repr(item);
    }
    return to + '}';
  }
  return value.object()->repr();
}

namespace {

bool equal_lists(const List& a, const List& b) {
  return a.tuple == b.tuple && std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), equal);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::all_of(a.entries.begin(), a.entries.end(), [&](const Entry& entry) {
    const Value* other = b.find(entry.first);
    return other && equal(entry.second, *other);
  });
}

bool equal_objects(const Object* a, const Object* b) {
  if (a == b) return true;
  if (a->kind() != b->kind()) return false;
  if (a->kind() == Object::Kind::range) {
    return equal(Value::list(static_cast<const Range*>(a)->items()),
                 Value::list(static_cast<const Range*>(b)->items()));
  }
  if (a->kind() == Object::Kind::view) {
    const auto* x = static_cast<const DictView*>(a);
    const auto* y = static_cast<const DictView*>(b);
    if (x->part() != y->part() || x->part() == DictView::Part::values || x->size() != y->size()) return false;
    const Dict& other = *y->dict().dict();
    return std::all_of(x->dict().dict()->entries.begin(), x->dict().dict()->entries.end(), [&](const Entry& entry) {
      const Value* found = other.find(entry.first);
      return found && (x->part() == DictView::Part::keys || equal(entry.second, *found));
    });
  }
  return false;
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  Int x = 0, y = 0;
  if (a.as_int(x) && b.as_int(y)) return x == y;
  double p = 0, q = 0;
  if (a.as_double(p) && b.as_double(q)) return p == q;
  if (a.text() && b.text()) return a.text()->bytes == b.text()->bytes;
  if (a.list() && b.list()) return equal_lists(*a.list(), *b.list());
  if (a.dict() && b.dict()) return equal_dicts(*a.dict(), *b.dict());
  if (a.object() && b.object()) return equal_objects(a.object(), b.object());
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool hashable(const Value& value) {
  if (const List* list = value.list()) {
    return list->tuple && std::all_of(list->items.begin(), list->items.end(), hashable);
  }
  return !value.dict();
}

Value from_json(const Json& json) {
  if (const auto* value = json.get_if<bool>()) return *value;
  if (const auto* value = json.get_if<int64_t>()) return Int{*value};
  if (const auto* value = json.get_if<uint64_t>()) return Int{*value};
  if (const auto* value = json.get_if<double>()) return *value;
  if (const auto* value = json.text()) return to_valid_utf8(*value);
  if (const auto* array = json.array()) {
    std::vector<Value> items;
    items.reserve(array->size());
    for (const Json& item : *array) items.push_back(from_json(item));
    return Value::list(std::move(items));
  }
  if (const auto* object = json.object()) {
    DictBuilder dict;
    for (const auto& [key, value] : *object) dict.set(to_valid_utf8(key), from_json(value));
    return dict.finish();
  }
  return None{};
}

}  // namespace moxie::jinja

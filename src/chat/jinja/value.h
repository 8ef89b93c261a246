// Values of a template: Python's types as far as chat templates meet them. A Value is cheap to copy; what it refers to
// does not change once built (templates run in a sandbox without methods that alter lists and dicts), apart from the
// state of loops, iterators and namespaces. Not thread-safe, except for values that nobody calls.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "core/json.h"
#include "moxie/error.h"

namespace moxie::jinja {

// Holds every whole number of JSON input (int64 and uint64) and what templates compute from them; beyond it is an
// error.
__extension__ typedef __int128 Int;

class Value;
class Object;

struct None {
  bool operator==(const None&) const = default;
};

// A name or an element that is not there. Printing it gives nothing; most operations fail with `message`.
struct Undefined {
  std::shared_ptr<const std::string> message;
};

// How deep a value nests, and how much there is of it when everything shared is written out: what bounds the recursion
// and the work of comparing, printing and freeing it.
struct Extent {
  int depth = 0;
  uint64_t weight = 1;

  void add(const Extent& inner) {
    depth = depth > inner.depth + 1 ? depth : inner.depth + 1;
    weight = weight + inner.weight < weight ? UINT64_MAX : weight + inner.weight;
  }
};

struct Text {
  std::string bytes;  // valid UTF-8
  bool ascii = true;
  bool markup = false;  // what the filter `safe` gives: joined with other text, that text is escaped for HTML
  size_t length = 0;    // in characters
};

struct List {
  std::vector<Value> items;
  bool tuple = false;
  bool group = false;  // of the filter groupby: its two elements have names
  Extent extent;
};

using Entry = std::pair<Value, Value>;

// In order of insertion. Built by DictBuilder.
struct Dict {
  std::vector<Entry> entries;
  std::unordered_map<std::string_view, size_t> texts;  // keys that are text, where entries are many
  Extent extent;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, Int, double, std::shared_ptr<const Text>,
                            std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>;

  Value() = default;  // undefined
  Value(None) : data_(None{}) {}
  Value(bool value) : data_(value) {}
  Value(Int value) : data_(value) {}
  Value(int value) : data_(Int{value}) {}
  Value(int64_t value) : data_(Int{value}) {}
  Value(size_t value) : data_(static_cast<Int>(value)) {}
  Value(double value) : data_(value) {}
  Value(std::string text, bool markup = false);
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}
  Value(std::shared_ptr<Object> object) : data_(std::move(object)) {}
  static Value undefined(std::string message);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value group(Value grouper, std::vector<Value> members);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const Int* integer() const { return std::get_if<Int>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  const Text* text() const { return pointee<Text>(); }
  const List* list() const { return pointee<List>(); }
  const Dict* dict() const { return pointee<Dict>(); }
  Object* object() const;
  std::shared_ptr<Object> shared_object() const;
  const Data& data() const { return data_; }

  std::string_view undefined_message() const;
  bool is_number() const { return boolean() || integer() || real(); }
  // A bool or an int.
  bool as_int(Int& to) const;
  bool as_double(double& to) const;  // any number
  Extent extent() const;
  bool same_object(const Value& other) const;

 private:
  template <typename T>
  const T* pointee() const {
    const auto* found = std::get_if<std::shared_ptr<const T>>(&data_);
    return found ? found->get() : nullptr;
  }

  Data data_;
};

// A later value for a key replaces the earlier one in its place, as in Python.
class DictBuilder {
 public:
  DictBuilder() : dict_(std::make_shared<Dict>()) {}
  void set(Value key, Value value);
  Value finish();

 private:
  std::shared_ptr<Dict> dict_;
};

// The arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

class Interpreter;

Extent around(const Value& inner);
Extent around(std::span<const Value> inner);

// Anything with behaviour: functions, loops, namespaces, iterators.
class Object : public std::enable_shared_from_this<Object> {
 public:
  enum class Kind { function, method, macro, loop, space, iterator, view, range, cycler, joiner };
  explicit Object(Kind kind, Extent extent = {}) : kind_(kind), extent_(extent) {}
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  Kind kind() const { return kind_; }
  Extent extent() const { return extent_; }
  virtual std::string_view type_name() const = 0;  // Python's: "function"
  virtual std::string repr() const;
  virtual bool callable() const { return false; }
  virtual Result<Value> call(Interpreter& interpreter, const Arguments& arguments);
  virtual Result<Value> attribute(Interpreter& interpreter, std::string_view name);  // undefined when it has none
  virtual void clear() {}  // lets go of what it came to hold after it was built

 private:
  Kind kind_;
  Extent extent_;
};

template <typename T>
T* object_as(const Value& value, Object::Kind kind) {
  Object* object = value.object();
  return object && object->kind() == kind ? static_cast<T*>(object) : nullptr;
}

// map(), select(), items() and the like: gives its items once. Also the filter `reverse`.
class Iterator final : public Object {
 public:
  Iterator(std::vector<Value> items, std::string_view type_name);
  std::string_view type_name() const override { return type_name_; }
  std::vector<Value> take();  // all that are left
  bool next(Value& to);

 private:
  std::vector<Value> items_;
  size_t at_ = 0;
  std::string_view type_name_;
};
Value make_iterator(std::vector<Value> items, std::string_view type_name = "generator");

// What dict.items(), keys() and values() give.
class DictView final : public Object {
 public:
  enum class Part { keys, values, items };
  DictView(Value dict, Part part) : Object(Kind::view, around(dict)), dict_(std::move(dict)), part_(part) {}
  std::string_view type_name() const override;
  std::string repr() const override;
  std::vector<Value> items() const;
  size_t size() const { return dict_.dict()->entries.size(); }
  Part part() const { return part_; }
  const Value& dict() const { return dict_; }

 private:
  Value dict_;
  Part part_;
};

class Range final : public Object {
 public:
  Range(int64_t start, int64_t stop, int64_t step) : Object(Kind::range), start_(start), stop_(stop), step_(step) {}
  std::string_view type_name() const override { return "range"; }
  std::string repr() const override;
  int64_t size() const;
  int64_t start() const { return start_; }
  int64_t stop() const { return stop_; }
  int64_t step() const { return step_; }
  Value at(int64_t index) const { return Int{start_ + index * step_}; }
  std::vector<Value> items() const;

 private:
  int64_t start_, stop_, step_;
};

// namespace(): the one thing whose attributes a template may set.
class Namespace final : public Object {
 public:
  Namespace() : Object(Kind::space) {}
  std::string_view type_name() const override { return "TemplateNamespace"; }
  std::string repr() const override;
  Result<Value> attribute(Interpreter& interpreter, std::string_view name) override;
  void set(const std::string& name, Value value);
  void clear() override { attributes_.clear(); }

 private:
  std::vector<std::pair<std::string, Value>> attributes_;
};

std::string_view type_name(const Value& value);  // Python's: "str", "NoneType"
bool truth(const Value& value);
// str() and repr() of Python.
std::string to_text(const Value& value);
std::string to_repr(const Value& value);
std::string float_repr(double value);
std::string int_text(Int value);

// Equality as Python's ==. Work is bounded by the size of the smaller value.
bool equal(const Value& a, const Value& b);
// Can it be a key of a dict?
bool hashable(const Value& value);

// The plain values of `json`. Text that is no UTF-8 is mended.
Value from_json(const Json& json);

}  // namespace moxie::jinja

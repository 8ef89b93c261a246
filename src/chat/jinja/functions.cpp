// Functions that templates call, and how arguments find their parameters.
#include <algorithm>

#include "chat/jinja/interpreter.h"

namespace moxie::jinja {
namespace {

constexpr int64_t kRangeMax = 100'000;

class Method final : public Object {
 public:
  Method(Value self, const MethodEntry& entry)
      : Object(Kind::method, around(self)), self_(std::move(self)), entry_(entry) {}
  std::string_view type_name() const override { return "builtin_function_or_method"; }
  std::string repr() const override {
    return fmt::format("<built-in method {} of {} object>", entry_.name, jinja::type_name(self_));
  }
  bool callable() const override { return true; }
  Result<Value> call(Interpreter& interpreter, const Arguments& arguments) override {
    return entry_.function(interpreter, self_, arguments);
  }

 private:
  Value self_;
  MethodEntry entry_;
};

class Function final : public Object {
 public:
  using Pointer = Result<Value> (*)(Interpreter&, const Arguments&);
  Function(std::string_view name, Pointer pointer) : Object(Kind::function), name_(name), pointer_(pointer) {}
  std::string_view type_name() const override { return "function"; }
  std::string repr() const override { return fmt::format("<function {}>", name_); }
  bool callable() const override { return true; }
  Result<Value> call(Interpreter& interpreter, const Arguments& arguments) override {
    return pointer_(interpreter, arguments);
  }

 private:
  std::string_view name_;
  Pointer pointer_;
};

// cycler('a', 'b'): next() gives them in turn.
class Cycler final : public Object {
 public:
  explicit Cycler(std::vector<Value> values) : Object(Kind::cycler, around(values)), values_(std::move(values)) {}
  std::string_view type_name() const override { return "Cycler"; }
  Result<Value> attribute(Interpreter& interpreter, std::string_view name) override {
    static constexpr MethodEntry kNext = {
        "next", [](Interpreter&, const Value& self, const Arguments&) {
          auto* cycler = object_as<Cycler>(self, Kind::cycler);
          return Result<Value>(cycler->values_[cycler->at_++ % cycler->values_.size()]);
        }};
    static constexpr MethodEntry kReset = {"reset", [](Interpreter&, const Value& self, const Arguments&) {
                                             object_as<Cycler>(self, Kind::cycler)->at_ = 0;
                                             return Result<Value>(None{});
                                           }};
    if (name == "current") return values_[at_ % values_.size()];
    if (name == "next") return bound_method(shared_from_this(), kNext);
    if (name == "reset") return bound_method(shared_from_this(), kReset);
    return Object::attribute(interpreter, name);
  }

 private:
  std::vector<Value> values_;
  size_t at_ = 0;
};

// joiner(', '): nothing at the first call, the separator afterwards.
class Joiner final : public Object {
 public:
  explicit Joiner(Value separator) : Object(Kind::joiner, around(separator)), separator_(std::move(separator)) {}
  std::string_view type_name() const override { return "Joiner"; }
  bool callable() const override { return true; }
  Result<Value> call(Interpreter&, const Arguments&) override {
    return std::exchange(used_, true) ? separator_ : Value("");
  }

 private:
  Value separator_;
  bool used_ = false;
};

Result<Value> make_range(Interpreter&, const Arguments& arguments) {
  if (!arguments.named.empty()) return bad("range() takes no keyword arguments");
  MOXIE_TRY(const auto bound, bind("range", arguments, {"start", "stop", "step"}, 1));
  int64_t parts[3] = {0, 0, 1};
  for (size_t i = 0; i < 3; ++i) {
    if (!bound[i]) continue;
    MOXIE_TRY(parts[i], int_argument("range", "bound", *bound[i]));
    if (parts[i] > INT64_MAX / 4 || parts[i] < INT64_MIN / 4) return bad("a bound of range() is too large");
  }
  if (!bound[1]) std::swap(parts[0], parts[1]);
  if (parts[2] == 0) return bad("range() arg 3 must not be zero");
  const auto made = std::make_shared<Range>(parts[0], parts[1], parts[2]);
  if (made->size() > kRangeMax) {
    return fail(ErrorCode::unsupported, "a range of {} numbers; at most {} are allowed", made->size(), kRangeMax);
  }
  return Value(std::shared_ptr<Object>(made));
}

// dict(mapping or pairs, **more)
Result<Value> make_dict(Interpreter& interpreter, const Arguments& arguments) {
  if (arguments.positional.size() > 1)
    return bad("dict expected at most 1 argument, got {}", arguments.positional.size());
  DictBuilder dict;
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (from.dict()) {
      MOXIE_TRY_VOID(interpreter.charge_made(from.dict()->entries.size() * 2 * sizeof(Value)));
      for (const auto& [key, value] : from.dict()->entries) dict.set(key, value);
    } else {
      MOXIE_TRY(const std::vector<Value> pairs, interpreter.items(from));
      for (const Value& pair : pairs) {
        MOXIE_TRY(const std::vector<Value> parts, interpreter.items(pair));
        if (parts.size() != 2 || !hashable(parts[0])) return bad("dict() wants pairs of a key and a value");
        dict.set(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict.set(name, value);
  return dict.finish();
}

Result<Value> make_namespace(Interpreter& interpreter, const Arguments& arguments) {
  MOXIE_TRY(const Value attributes, make_dict(interpreter, arguments));
  auto space = std::make_shared<Namespace>();
  for (const auto& [key, value] : attributes.dict()->entries) {
    if (!key.text()) continue;
    if (key.text()->bytes.starts_with('_')) {
      return bad("a namespace has no attributes that begin with '_': '{}'", key.text()->bytes);
    }
    space->set(key.text()->bytes, value);
  }
  return interpreter.keep(std::move(space));
}

Result<Value> make_cycler(Interpreter&, const Arguments& arguments) {
  if (arguments.positional.empty()) return bad("at least one item has to be provided to cycler()");
  return Value(std::shared_ptr<Object>(std::make_shared<Cycler>(arguments.positional)));
}

Result<Value> make_joiner(Interpreter&, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("joiner", arguments, {"sep"}));
  return Value(std::shared_ptr<Object>(std::make_shared<Joiner>(bound[0] ? *bound[0] : Value(", "))));
}

Result<Value> raise_exception(Interpreter& interpreter, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("raise_exception", arguments, {"message"}, 1));
  MOXIE_TRY(std::string message, interpreter.text_of(*bound[0]));
  return interpreter.refuse(std::move(message));
}

Result<Value> strftime_now(Interpreter& interpreter, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("strftime_now", arguments, {"format"}, 1));
  if (!bound[0]->text()) return bad("strftime_now() wants a text, not {}", type_name(*bound[0]));
  MOXIE_TRY_VOID(interpreter.charge_made(bound[0]->text()->bytes.size() * 16));
  return Value(time_text(bound[0]->text()->bytes, interpreter.now()));
}

}  // namespace

std::optional<Value> find_global(std::string_view name) {
  static constexpr std::pair<std::string_view, Function::Pointer> kFunctions[] = {
      {"range", make_range},          {"dict", make_dict},     {"namespace", make_namespace},
      {"cycler", make_cycler},        {"joiner", make_joiner}, {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
  };
  for (const auto& [known, pointer] : kFunctions) {
    if (known == name) return Value(std::shared_ptr<Object>(std::make_shared<Function>(known, pointer)));
  }
  return std::nullopt;
}

Value bound_method(const Value& self, const MethodEntry& entry) {
  return std::shared_ptr<Object>(std::make_shared<Method>(self, entry));
}

Result<std::vector<const Value*>> bind(std::string_view function, const Arguments& arguments,
                                       std::initializer_list<std::string_view> names, size_t required) {
  std::vector<const Value*> bound(names.size(), nullptr);
  if (arguments.positional.size() > names.size()) {
    return bad("{}() takes at most {} arguments, {} were given", function, names.size(), arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return bad("{}() got an unexpected keyword argument '{}'", function, name);
    const Value*& place = bound[static_cast<size_t>(found - names.begin())];
    if (place) return bad("{}() got multiple values for argument '{}'", function, name);
    place = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!bound[i]) return bad("{}() is missing the argument '{}'", function, *(names.begin() + i));
  }
  return bound;
}

Result<int64_t> int_argument(std::string_view function, std::string_view name, const Value& value) {
  Int whole = 0;
  if (value.is_undefined()) return undefined_error(value);
  if (!value.as_int(whole)) return bad("{}(): '{}' must be a whole number, not {}", function, name, type_name(value));
  return static_cast<int64_t>(std::clamp<Int>(whole, INT64_MIN, INT64_MAX));
}

}  // namespace moxie::jinja

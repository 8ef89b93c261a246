#include "chat/jinja/loop.h"

namespace moxie::jinja {

Loop::Loop(const Stmt& stmt, std::shared_ptr<Scope> scope, std::vector<Value> elements, int depth)
    : Object(Kind::loop, around(elements)),
      stmt_(stmt),
      scope_(std::move(scope)),
      elements_(std::move(elements)),
      filtered_(stmt.test != nullptr),
      depth_(depth) {}

std::string Loop::repr() const {
  return fmt::format("<LoopContext {}/{}>", int_text(index_ + 1), elements_.size());
}

Result<bool> Loop::look_ahead(Interpreter& interpreter) {
  if (ahead_) return true;
  while (at_ < elements_.size()) {
    const Value& element = elements_[at_++];
    bool passes = true;
    if (filtered_) {
      MOXIE_TRY(passes, interpreter.passes(stmt_, scope_, element));
    }
    if (!passes) continue;
    ahead_ = element;
    return true;
  }
  return false;
}

Result<bool> Loop::advance(Interpreter& interpreter) {
  MOXIE_TRY(const bool more, look_ahead(interpreter));
  if (!more) return false;
  has_before_ = index_ >= 0;
  before_ = std::move(current_);
  current_ = *std::move(ahead_);
  ahead_.reset();
  ++index_;
  return true;
}

Result<Int> Loop::length(Interpreter& interpreter) {
  if (filtered_) {  // asks about all that is left, now
    std::vector<Value> rest;
    for (;;) {
      MOXIE_TRY(const bool more, look_ahead(interpreter));
      if (!more) break;
      rest.push_back(*std::move(ahead_));
      ahead_.reset();
    }
    elements_.resize(static_cast<size_t>(index_ + 1));  // so that their number is the length
    elements_.insert(elements_.end(), rest.begin(), rest.end());
    at_ = static_cast<size_t>(index_ + 1);
    filtered_ = false;
  }
  return static_cast<Int>(elements_.size());
}

Result<Value> Loop::call(Interpreter& interpreter, const Arguments& arguments) {
  if (!stmt_.recursive) {
    return bad("the loop was called, but it is not recursive; add 'recursive' at the end of its for statement");
  }
  MOXIE_TRY(const auto bound, bind("loop", arguments, {"iterable"}, 1));
  MOXIE_TRY(std::string text, interpreter.run_recursive(stmt_, scope_, *bound[0], depth_ + 1));
  return Value(std::move(text));
}

Result<Value> Loop::cycle(Interpreter&, const Arguments& arguments) {
  if (arguments.positional.empty()) return bad("no items for cycling given");
  return arguments.positional[static_cast<size_t>(index_) % arguments.positional.size()];
}

Result<Value> Loop::changed(Interpreter& interpreter, const Arguments& arguments) {
  Value values = Value::tuple(arguments.positional);
  const bool differs = !last_changed_ || !equal(*last_changed_, values);
  last_changed_ = std::move(values);
  if (!std::exchange(kept_, true)) interpreter.keep(shared_from_this());
  return Value(differs);
}

Result<Value> Loop::attribute(Interpreter& interpreter, std::string_view name) {
  static constexpr MethodEntry kMethods[] = {
      {"cycle", [](Interpreter& i, const Value& self,
                   const Arguments& a) { return object_as<Loop>(self, Kind::loop)->cycle(i, a); }},
      {"changed", [](Interpreter& i, const Value& self,
                     const Arguments& a) { return object_as<Loop>(self, Kind::loop)->changed(i, a); }},
  };
  if (name == "index") return Value(index_ + 1);
  if (name == "index0") return Value(index_);
  if (name == "first") return Value(index_ == 0);
  if (name == "depth") return Value(depth_ + 1);
  if (name == "depth0") return Value(depth_);
  if (name == "last" || name == "nextitem") {
    MOXIE_TRY(const bool more, look_ahead(interpreter));
    if (name == "last") return Value(!more);
    return more ? *ahead_ : Value::undefined("there is no next item");
  }
  if (name == "previtem") return has_before_ ? before_ : Value::undefined("there is no previous item");
  if (name == "length" || name == "revindex" || name == "revindex0") {
    MOXIE_TRY(const Int all, length(interpreter));
    return Value(name == "length" ? all : name == "revindex" ? all - index_ : all - index_ - 1);
  }
  for (const MethodEntry& entry : kMethods) {
    if (entry.name != name) continue;
    return bound_method(shared_from_this(), entry);
  }
  return Object::attribute(interpreter, name);
}

}  // namespace moxie::jinja

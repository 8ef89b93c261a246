// Attributes, elements and what can be gone through.
#include <algorithm>

#include "chat/jinja/interpreter.h"
#include "chat/jinja/python_text.h"

namespace moxie::jinja {
namespace {

// How Jinja names a value in messages about what it lacks.
std::string described(const Value& of) {
  if (of.is_none()) return "None";
  return fmt::format("'{} object'", type_name(of));
}

Value no_attribute(const Value& of, std::string_view name) {
  return Value::undefined(fmt::format("{} has no attribute '{}'", described(of), name));
}

// Methods that would alter a list or a dict; the sandbox has no such thing.
bool alters(const Value& of, std::string_view name) {
  static constexpr std::string_view kOfLists[] = {"append", "clear", "pop",    "reverse",
                                                  "insert", "sort",  "extend", "remove"};
  static constexpr std::string_view kOfDicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (of.list() && !of.list()->tuple)
    return std::find(std::begin(kOfLists), std::end(kOfLists), name) != std::end(kOfLists);
  return of.dict() && std::find(std::begin(kOfDicts), std::end(kOfDicts), name) != std::end(kOfDicts);
}

Value unsafe(const Value& of, std::string_view name) {
  return Value::undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(of)));
}

const MethodEntry* find_method(const Value& of, std::string_view name) {
  return of.text() ? find_text_method(name) : find_value_method(of, name);
}

}  // namespace

Result<Value> Interpreter::attribute(const Value& of, std::string_view name) {
  if (of.is_undefined()) return undefined_error(of);
  if (name.starts_with("__")) return unsafe(of, name);
  if (alters(of, name)) return unsafe(of, name);
  if (const MethodEntry* entry = find_method(of, name)) return bound_method(of, *entry);
  if (of.list() && of.list()->group && (name == "grouper" || name == "list")) {
    return of.list()->items[name == "list" ? 1 : 0];
  }
  if (Object* object = of.object()) return object->attribute(*this, name);
  if (const Dict* dict = of.dict()) {
    if (const Value* found = dict->find(name)) return *found;
  }
  return no_attribute(of, name);
}

Result<Value> Interpreter::item(const Value& of, const Value& key) {
  if (of.is_undefined()) return undefined_error(of);
  Int index = 0;
  const bool whole = key.as_int(index);
  if (const Dict* dict = of.dict()) {
    MOXIE_TRY_VOID(charge(key.text() ? 0 : dict->entries.size()));
    if (const Value* found = hashable(key) ? dict->find(key) : nullptr) return *found;
  } else if (whole && (of.text() || of.list() || (of.object() && of.object()->kind() == Object::Kind::range))) {
    MOXIE_TRY(const Int size, length_of(of));
    if (index < 0) index += size;
    if (index >= 0 && index < size) {
      const auto at = static_cast<size_t>(index);
      if (of.list()) return of.list()->items[at];
      if (!of.text()) return object_as<Range>(of, Object::Kind::range)->at(static_cast<int64_t>(at));
      const Text& text = *of.text();
      MOXIE_TRY_VOID(charge(text.ascii ? 0 : text.bytes.size()));
      const std::string_view rest = std::string_view(text.bytes).substr(byte_of(text.bytes, at, text.ascii));
      return Value(std::string(rest.substr(0, byte_of(rest, 1, text.ascii))), text.markup);
    }
  }
  if (key.text()) {
    const std::string& name = key.text()->bytes;
    if (name.starts_with("__") || alters(of, name)) return unsafe(of, name);
    if (const MethodEntry* entry = find_method(of, name)) return bound_method(of, *entry);
    if (Object* object = of.object()) return object->attribute(*this, name);
    return no_attribute(of, name);
  }
  return Value::undefined(fmt::format("{} object has no element {}", type_name(of), to_repr(key)));
}

Result<std::vector<Value>> Interpreter::items(const Value& of) {
  if (of.is_undefined()) return std::vector<Value>();
  std::vector<Value> all;
  if (const Text* text = of.text()) {
    MOXIE_TRY_VOID(charge_made(text->length * sizeof(Value)));
    for (const std::string_view character : characters(text->bytes)) {
      all.emplace_back(std::string(character), text->markup);
    }
    return all;
  }
  if (const List* list = of.list()) {
    MOXIE_TRY_VOID(charge_made(list->items.size() * sizeof(Value)));
    return list->items;
  }
  if (const Dict* dict = of.dict()) {
    MOXIE_TRY_VOID(charge_made(dict->entries.size() * sizeof(Value)));
    for (const auto& [key, value] : dict->entries) all.push_back(key);
    return all;
  }
  if (auto* iterator = object_as<Iterator>(of, Object::Kind::iterator)) return iterator->take();
  if (const auto* view = object_as<DictView>(of, Object::Kind::view)) {
    MOXIE_TRY_VOID(charge_made(view->size() * sizeof(Value)));
    return view->items();
  }
  if (const auto* range = object_as<Range>(of, Object::Kind::range)) {
    MOXIE_TRY_VOID(charge_made(static_cast<uint64_t>(range->size()) * sizeof(Value)));
    return range->items();
  }
  return bad("'{}' object is not iterable", type_name(of));
}

}  // namespace moxie::jinja

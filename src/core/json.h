// JSON from files nobody vouches for: bounded in size, depth and number of values, strict in syntax (RFC 8259), never
// throwing. Values are plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "moxie/error.h"

namespace moxie {

struct Json;

// A template only because a Json holds a vector of these before either type is complete.
template <typename Value>
struct JsonMemberOf {
  std::string key;
  Value value;
};
using JsonMember = JsonMemberOf<Json>;

struct Json {
  using Array = std::vector<Json>;
  using Object = std::vector<JsonMember>;  // in file order
  // int64_t for whole numbers, uint64_t only for those above its range, double for the rest.
  std::variant<std::nullptr_t, bool, int64_t, uint64_t, double, std::string, Array, Object> value = nullptr;

  template <typename T>
  const T* get_if() const {
    return std::get_if<T>(&value);
  }
  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value); }
  const Array* array() const { return get_if<Array>(); }
  const Object* object() const { return get_if<Object>(); }
  const std::string* text() const { return get_if<std::string>(); }
  // A whole number, also one written "2.0"; nullopt for anything else.
  std::optional<int64_t> integer() const;
  // An object's member (the last of that name), or null. Linear in the number of members.
  const Json* find(std::string_view key) const;
};

struct JsonLimits {
  size_t bytes_max = size_t{64} << 20;
  size_t depth_max = 128;
  size_t values_max = size_t{8} << 20;  // keys count too
  bool distinct_keys = false;           // refuse an object that names a key twice
};

// `what` names the text in errors, which are corrupt for bad syntax and unsupported beyond a limit.
Result<Json> parse_json(std::string_view text, std::string_view what, const JsonLimits& limits = {});

// Compact JSON text, members in their order.
std::string to_text(const Json& json);

}  // namespace moxie

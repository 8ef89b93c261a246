// Building JSON values in one expression: object({{"id", 3}, {"name", "x"}}). Pure functions.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"

namespace moxie::server {

// What a member may be made from.
struct JsonPart {
  JsonPart(Json json) : json(std::move(json)) {}
  JsonPart(std::nullptr_t) {}
  JsonPart(bool value) : json{value} {}
  template <std::integral T>
  requires(!std::same_as<T, bool>) JsonPart(T value) : json{static_cast<int64_t>(value)} {}
  JsonPart(double value) : json{value} {}
  JsonPart(std::string value) : json{std::move(value)} {}
  JsonPart(std::string_view value) : json{std::string(value)} {}
  JsonPart(const char* value) : json{std::string(value)} {}

  Json json;
};

inline Json object(std::initializer_list<std::pair<std::string_view, JsonPart>> members = {}) {
  Json::Object made;
  made.reserve(members.size());
  for (const auto& [key, value] : members) made.push_back({std::string(key), value.json});
  return Json{std::move(made)};
}

inline Json array(std::initializer_list<JsonPart> values = {}) {
  Json::Array made;
  made.reserve(values.size());
  for (const JsonPart& value : values) made.push_back(value.json);
  return Json{std::move(made)};
}

// REQUIRES: `to` is an object.
inline void put(Json& to, std::string_view key, JsonPart value) {
  std::get<Json::Object>(to.value).push_back({std::string(key), std::move(value.json)});
}

// REQUIRES: `to` is an array.
inline void push(Json& to, JsonPart value) {
  std::get<Json::Array>(to.value).push_back(std::move(value.json));
}

}  // namespace moxie::server

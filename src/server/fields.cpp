#include "server/fields.h"

#include <cmath>

#include "core/fail.h"
#include "text/detokenizer.h"

namespace moxie::server {
namespace {

constexpr size_t kShownMax = 60;

}  // namespace

std::string shown(const Json& value) {
  if (const auto* array = value.array(); array != nullptr && array->size() > 8) {
    return fmt::format("a list of {} values", array->size());
  }
  if (const auto* object = value.object(); object != nullptr && object->size() > 8) {
    return fmt::format("an object of {} members", object->size());
  }
  if (const std::string* text = value.text(); text != nullptr && text->size() > kShownMax) {
    return fmt::format("a text of {} bytes", text->size());
  }
  std::string made = to_text(value);
  if (made.size() <= kShownMax) return made;
  made.resize(complete_utf8_prefix(std::string_view(made).substr(0, kShownMax)));
  return made + "...";
}

std::optional<double> number_of(const Json& value) {
  if (const auto* number = value.get_if<int64_t>()) return static_cast<double>(*number);
  if (const auto* number = value.get_if<uint64_t>()) return static_cast<double>(*number);
  if (const auto* number = value.get_if<double>()) return *number;
  return std::nullopt;
}

std::string field_of(std::string_view message) {
  if (!message.starts_with('\'')) return {};
  const size_t end = message.find('\'', 1);
  return end == std::string_view::npos ? std::string() : std::string(message.substr(1, end - 1));
}

Fields::Fields(const Json& object, std::string_view where) : object_(&object), where_(where) {
  if (object.object() != nullptr) return;
  if (where.empty()) {
    error_ = fail(ErrorCode::invalid_argument, "the body is {}; it must be a JSON object", shown(object));
  } else {
    error_ = fail(ErrorCode::invalid_argument, "'{}' is {}; it must be an object", where.substr(0, where.size() - 1),
                  shown(object));
  }
}

const Json* Fields::find(std::string_view name) const {
  if (error_) return nullptr;
  const Json* value = object_->find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void Fields::refuse(std::string_view name, const Json& value, std::string_view wanted) {
  fail_with(fail(ErrorCode::invalid_argument, "'{}{}' is {}; it must be {}", where_, name, shown(value), wanted));
}

void Fields::fail_with(Error error) {
  if (!error_) error_ = std::move(error);
}

Result<void> Fields::done() const {
  if (error_) return *error_;
  return {};
}

void Fields::flag(std::string_view name, bool& to) {
  const Json* value = find(name);
  if (value == nullptr) return;
  if (const bool* flag = value->get_if<bool>()) {
    to = *flag;
  } else {
    refuse(name, *value, "true or false");
  }
}

void Fields::flag(std::string_view name, std::optional<bool>& to) {
  bool value = false;
  if (find(name) == nullptr) return;
  flag(name, value);
  if (ok()) to = value;
}

void Fields::integer(std::string_view name, int64_t& to, int64_t low, int64_t high) {
  const Json* value = find(name);
  if (value == nullptr) return;
  const auto number = value->integer();
  if (number && *number >= low && *number <= high) {
    to = *number;
  } else if (high == std::numeric_limits<int64_t>::max()) {
    refuse(name, *value, fmt::format("a whole number, {} or more", low));
  } else {
    refuse(name, *value, fmt::format("a whole number from {} to {}", low, high));
  }
}

void Fields::integer(std::string_view name, int& to, int64_t low, int64_t high) {
  int64_t value = to;
  integer(name, value, low, std::min<int64_t>(high, std::numeric_limits<int>::max()));
  if (ok()) to = static_cast<int>(value);
}

void Fields::number(std::string_view name, float& to, double low, double high) {
  const Json* value = find(name);
  if (value == nullptr) return;
  constexpr double kMost = std::numeric_limits<float>::max();
  const auto number = number_of(*value);
  if (number && *number >= std::max(low, -kMost) && *number <= std::min(high, kMost)) {
    to = static_cast<float>(*number);
  } else if (std::isinf(low) && std::isinf(high)) {
    refuse(name, *value, "a number");
  } else if (std::isinf(high)) {
    refuse(name, *value, fmt::format("a number, {} or more", low));
  } else {
    refuse(name, *value, fmt::format("a number from {} to {}", low, high));
  }
}

void Fields::text(std::string_view name, std::string& to) {
  const Json* value = find(name);
  if (value == nullptr) return;
  if (const std::string* text = value->text()) {
    to = *text;
  } else {
    refuse(name, *value, "a text");
  }
}

void Fields::texts(std::string_view name, std::vector<std::string>& to) {
  const Json* value = find(name);
  if (value == nullptr) return;
  if (const std::string* text = value->text()) {
    to = {*text};
    return;
  }
  if (value->array() == nullptr) return refuse(name, *value, "a text or a list of texts");
  std::vector<std::string> list;
  for (const Json& entry : *value->array()) {
    if (entry.text() == nullptr) return refuse(name, entry, "a text or a list of texts");
    list.push_back(*entry.text());
  }
  to = std::move(list);
}

void Fields::object(std::string_view name, Json& to) {
  const Json* value = find(name);
  if (value == nullptr) return;
  if (value->object() == nullptr) return refuse(name, *value, "an object");
  to = *value;
}

void Fields::array(std::string_view name, Json& to) {
  const Json* value = find(name);
  if (value == nullptr) return;
  if (value->array() == nullptr) return refuse(name, *value, "a list");
  to = *value;
}

}  // namespace moxie::server

#include "core/json.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/fail.h"
#include "core/printable.h"

namespace moxie {
namespace {

using Library = nlohmann::json;

// Builds a Json from the library's events; the library itself keeps no tree and does not recurse.
class Builder final : public nlohmann::json_sax<Library> {
 public:
  Builder(std::string_view what, const JsonLimits& limits) : what_(what), limits_(limits) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return add(value);
    return add(static_cast<int64_t>(value));
  }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Library::binary_t&) override { return false; }

  bool start_object(size_t) override { return open(Json::Object{}); }
  bool start_array(size_t) override { return open(Json::Array{}); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    if (!count()) return false;
    if (limits_.distinct_keys && !levels_.back().keys.insert(name).second) {
      error_ = fail(ErrorCode::corrupt, "{}: the key \"{}\" appears twice", what_, printable(name));
      return false;
    }
    std::get<Json::Object>(levels_.back().json->value).push_back({std::move(name), {}});
    return true;
  }

  bool parse_error(size_t position, const std::string& last_token, const nlohmann::detail::exception&) override {
    error_ = fail(ErrorCode::corrupt, "{}: not valid JSON at byte {}, near \"{}\"", what_, position,
                  printable(last_token.size() > 40 ? last_token.substr(last_token.size() - 40) : last_token));
    return false;
  }

  Result<Json> finish(bool ok) {
    if (error_) return std::move(*error_);
    if (!ok) return fail(ErrorCode::corrupt, "{}: not valid JSON", what_);
    return std::move(root_);
  }

 private:
  struct Level {
    Json* json;
    std::unordered_set<std::string> keys;  // used where keys must be distinct
  };

  bool count() {
    if (++values_ <= limits_.values_max) return true;
    error_ = fail(ErrorCode::unsupported, "{}: holds more than {} JSON values", what_, limits_.values_max);
    return false;
  }

  template <typename T>
  Json* place(T&& value) {
    if (levels_.empty()) {
      root_.value = std::forward<T>(value);
      return &root_;
    }
    Json& parent = *levels_.back().json;
    if (auto* array = std::get_if<Json::Array>(&parent.value)) {
      array->push_back(Json{std::forward<T>(value)});
      return &array->back();
    }
    Json& member = std::get<Json::Object>(parent.value).back().value;
    member.value = std::forward<T>(value);
    return &member;
  }

  template <typename T>
  bool add(T&& value) {
    if (!count()) return false;
    place(std::forward<T>(value));
    return true;
  }

  template <typename T>
  bool open(T&& container) {
    if (!count()) return false;
    if (levels_.size() >= limits_.depth_max) {
      error_ = fail(ErrorCode::unsupported, "{}: JSON nested deeper than {} levels", what_, limits_.depth_max);
      return false;
    }
    levels_.push_back({place(std::forward<T>(container)), {}});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  std::string_view what_;
  const JsonLimits& limits_;
  Json root_;
  std::vector<Level> levels_;  // the containers around the next value; their addresses stay put while they are open
  size_t values_ = 0;
  std::optional<Error> error_;
};

// Replaces bytes that are no UTF-8 rather than throwing; parsed text has none.
void append_scalar(const Library& value, std::string& to) {
  to += value.dump(-1, ' ', false, Library::error_handler_t::replace);
}

// Members in their order: the library would sort them, and a model reads a schema as it was written.
void append_text(const Json& json, std::string& to) {
  const auto separate = [&](bool first) {
    if (!first) to += ',';
  };
  if (const auto* values = json.array()) {
    to += '[';
    for (const Json& value : *values) {
      separate(&value == values->data());
      append_text(value, to);
    }
    to += ']';
  } else if (const auto* members = json.object()) {
    to += '{';
    for (const JsonMember& member : *members) {
      separate(&member == members->data());
      append_scalar(member.key, to);
      to += ':';
      append_text(member.value, to);
    }
    to += '}';
  } else {
    std::visit(
        [&](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (!std::is_same_v<T, Json::Array> && !std::is_same_v<T, Json::Object>) append_scalar(value, to);
        },
        json.value);
  }
}

}  // namespace

std::optional<int64_t> Json::integer() const {
  if (const int64_t* whole = get_if<int64_t>()) return *whole;
  if (const double* number = get_if<double>()) {
    // Beyond 2^53 a double no longer says which whole number was meant.
    if (std::abs(*number) <= 9007199254740992.0 && std::floor(*number) == *number) return static_cast<int64_t>(*number);
  }
  return std::nullopt;
}

const Json* Json::find(std::string_view key) const {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  for (auto member = members->rbegin(); member != members->rend(); ++member) {
    if (member->key == key) return &member->value;
  }
  return nullptr;
}

Result<Json> parse_json(std::string_view text, std::string_view what, const JsonLimits& limits) {
  if (text.size() > limits.bytes_max) {
    return fail(ErrorCode::unsupported, "{}: {} bytes of JSON, more than the limit of {}", what, text.size(),
                limits.bytes_max);
  }
  // The library takes a zero byte for the end and would ignore what follows it.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return fail(ErrorCode::corrupt, "{}: not valid JSON at byte {}, a zero byte", what, zero + 1);
  }
  Builder builder(what, limits);
  const bool ok = Library::sax_parse(text.begin(), text.end(), &builder);
  return builder.finish(ok);
}

std::string to_text(const Json& json) {
  std::string text;
  append_text(json, text);
  return text;
}

}  // namespace moxie

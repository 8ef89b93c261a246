// What can go wrong, and how it is reported: a value or an Error, never an exception.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace moxie {

enum class ErrorCode {
  internal = 1,
  invalid_argument = 2,
  not_found = 3,
  corrupt = 4,
  unsupported = 5,
  io = 6,
  out_of_memory = 7,
  unavailable = 8,
  cancelled = 130,
};

// The program's exit status for an error; the enumerators are those numbers.
constexpr int exit_code(ErrorCode code) {
  return static_cast<int>(code);
}

constexpr std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::internal:
      return "internal";
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::io:
      return "io";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::cancelled:
      return "cancelled";
  }
  return "internal";
}

// What is wrong with a model, in parts; the message of its Error says the same in a sentence.
struct Diagnosis {
  std::string code;                        // "lfs-pointer": stable; docs/troubleshooting.md lists them
  std::string found, expected, near_miss;  // where known; near_miss: what there is that is most like what is missing
};

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  // names the thing, the value found, the limit and the remedy
  // Null where it is about no model. Shared, as errors are copied on their way and never changed.
  std::shared_ptr<const Diagnosis> diagnosis = nullptr;
};

// A T or an Error. value() REQUIRES ok(); error() REQUIRES !ok().
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace moxie

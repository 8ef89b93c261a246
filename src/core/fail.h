// Building errors and passing them up.
#pragma once

#include <fmt/format.h>

#include <memory>

#include "moxie/error.h"

namespace moxie {

template <typename... Args>
Error fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...)};
}

// The error with its diagnosis.
inline Error diagnosed(Diagnosis diagnosis, Error error) {
  error.diagnosis = std::make_shared<const Diagnosis>(std::move(diagnosis));
  return error;
}

// An error about a model: with what `moxie doctor` says of it. Its code is a row of doctor/diagnoses.inc.
template <typename... Args>
Error fail(Diagnosis diagnosis, ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return diagnosed(std::move(diagnosis), fail(code, format, std::forward<Args>(args)...));
}

}  // namespace moxie

#define MOXIE_CONCAT_(a, b) a##b
#define MOXIE_CONCAT(a, b) MOXIE_CONCAT_(a, b)

// MOXIE_TRY(const auto x, expression): x is the value, or the enclosing function returns the error.
#define MOXIE_TRY(declaration, ...) MOXIE_TRY_(MOXIE_CONCAT(result_, __LINE__), declaration, __VA_ARGS__)
#define MOXIE_TRY_(result, declaration, ...)          \
  auto result = (__VA_ARGS__);                        \
  if (!result.ok()) return std::move(result).error(); \
  declaration = std::move(result).value()

// For Result<void>.
#define MOXIE_TRY_VOID(...)                                                                               \
  do {                                                                                                    \
    if (auto moxie_result_ = (__VA_ARGS__); !moxie_result_.ok()) return std::move(moxie_result_).error(); \
  } while (false)

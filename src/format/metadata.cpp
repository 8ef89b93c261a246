#include "format/metadata.h"

#include <cmath>

namespace moxie {
namespace {

template <typename T>
std::optional<std::vector<T>> one_or_none(const std::optional<T>& value) {
  if (!value) return std::nullopt;
  return std::vector<T>{*value};
}

}  // namespace

const MetadataValue* Metadata::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

std::optional<int64_t> Metadata::integer(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* whole = std::get_if<int64_t>(value)) return *whole;
  if (const auto* natural = std::get_if<uint64_t>(value); natural && *natural <= static_cast<uint64_t>(INT64_MAX)) {
    return static_cast<int64_t>(*natural);
  }
  return std::nullopt;
}

std::optional<double> Metadata::number(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* real = std::get_if<double>(value)) return *real;
  if (const auto* whole = std::get_if<int64_t>(value)) return static_cast<double>(*whole);
  if (const auto* natural = std::get_if<uint64_t>(value)) return static_cast<double>(*natural);
  return std::nullopt;
}

std::optional<bool> Metadata::boolean(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* flag = std::get_if<bool>(value)) return *flag;
  const std::optional<int64_t> whole = integer(key);
  if (whole == 0 || whole == 1) return *whole == 1;
  return std::nullopt;
}

std::optional<std::string> Metadata::text(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* words = std::get_if<std::string>(value)) return *words;
  return std::nullopt;
}

std::optional<std::vector<int64_t>> Metadata::integers(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* whole = std::get_if<std::vector<int64_t>>(value)) return *whole;
  if (const auto* flags = std::get_if<std::vector<bool>>(value))
    return std::vector<int64_t>(flags->begin(), flags->end());
  if (const auto* flag = std::get_if<bool>(value)) return std::vector<int64_t>{*flag};
  return one_or_none(integer(key));
}

std::optional<std::vector<double>> Metadata::numbers(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* real = std::get_if<std::vector<double>>(value)) return *real;
  if (const auto* whole = std::get_if<std::vector<int64_t>>(value))
    return std::vector<double>(whole->begin(), whole->end());
  return one_or_none(number(key));
}

std::optional<std::vector<std::string>> Metadata::texts(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* words = std::get_if<std::vector<std::string>>(value)) return *words;
  // An empty JSON array does not say of what.
  if (const auto* whole = std::get_if<std::vector<int64_t>>(value); whole && whole->empty())
    return std::vector<std::string>{};
  return std::nullopt;
}

}  // namespace moxie

// Key-value facts of a model file: GGUF metadata, or config.json flattened with dots ("rope_scaling.factor"). Plain
// data.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace moxie {

// Arrays of numbers keep their kind; an array of anything else (objects, mixed) is kept as its JSON text in a string.
using MetadataValue = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<bool>,
                                   std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;

class Metadata {
 public:
  void set(std::string key, MetadataValue value) { values_.insert_or_assign(std::move(key), std::move(value)); }
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  const MetadataValue* find(std::string_view key) const;

  // The value if present and of a fitting kind: any integer kind for integer(); integers and floats for number(); bool
  // or 0/1 for boolean(). Absent, JSON null and other kinds give nullopt.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(
      std::string_view key) const;  // also from bool arrays; a scalar gives one element
  std::optional<std::vector<double>> numbers(std::string_view key) const;  // a scalar gives one element
  std::optional<std::vector<std::string>> texts(std::string_view key) const;

  const std::map<std::string, MetadataValue, std::less<>>& all() const { return values_; }

 private:
  std::map<std::string, MetadataValue, std::less<>> values_;
};

}  // namespace moxie

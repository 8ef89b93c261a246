// Reading the fields of a request: each into a variable, which an absent or null field leaves as it is. The first field
// that is not what it should be is kept as the error, and those after it are not read. Not thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "moxie/error.h"

namespace moxie::server {

class Fields {
 public:
  // `where` stands before the names in errors: "stream_options.". REQUIRES: the object outlives the reader. A value
  // that is no object is an error.
  explicit Fields(const Json& object, std::string_view where = {});

  const Json* find(std::string_view name) const;  // null: absent or null
  void flag(std::string_view name, bool& to);
  void flag(std::string_view name, std::optional<bool>& to);
  void integer(std::string_view name, int64_t& to, int64_t low, int64_t high);
  void integer(std::string_view name, int& to, int64_t low, int64_t high);
  void number(std::string_view name, float& to, double low, double high);
  void text(std::string_view name, std::string& to);
  void texts(std::string_view name, std::vector<std::string>& to);  // one or a list; replaces what is there
  // An object or a list, as it is.
  void object(std::string_view name, Json& to);
  void array(std::string_view name, Json& to);

  // "'NAME' is VALUE; it must be WANTED".
  void refuse(std::string_view name, const Json& value, std::string_view wanted);
  void fail_with(Error error);
  bool ok() const { return !error_; }
  Result<void> done() const;

 private:
  const Json* object_;
  std::string where_;
  std::optional<Error> error_;
};

// A value as an error shows it: its JSON, cut where it is long.
std::string shown(const Json& value);
// The number of a JSON value, whatever its form.
std::optional<double> number_of(const Json& value);
// The field that a message made here is about: what stands in its first quotes. Empty: none.
std::string field_of(std::string_view message);

}  // namespace moxie::server

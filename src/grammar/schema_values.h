// Numbers and texts of a JSON schema as automata over characters. Plain functions, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"
#include "grammar/char_dfa.h"
#include "moxie/error.h"

namespace moxie::grammar {

// A number as its decimal digits, so that bounds are exact.
struct Decimal {
  bool negative = false;
  std::string whole = "0";  // no leading zeros
  std::string fraction;     // no trailing zeros

  static std::optional<Decimal> from(const Json& number);
  bool is_zero() const { return whole == "0" && fraction.empty(); }
  bool is_whole() const { return fraction.empty(); }
  std::string text() const;
};
int compare(const Decimal& a, const Decimal& b);

struct Bound {
  Decimal value;
  bool exclusive = false;
};

// Whole numbers, or (with_fraction) decimals, in the bounds, written without exponent.
Result<CharDfa> number_between(const std::optional<Bound>& low, const std::optional<Bound>& high, bool with_fraction);
// The same texts as number_between() gives without bounds, of multiples of `unit`. Error: unsupported, too large a
// unit.
Result<CharDfa> number_multiple(const Decimal& unit);
bool is_multiple(const Decimal& number, const Decimal& unit);

// The pattern of a format: "date", "uuid"; empty: not one of those that are known.
std::string_view format_pattern(std::string_view name);

}  // namespace moxie::grammar

#include "grammar/schema_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/fail.h"
#include "grammar/regex.h"

namespace moxie::grammar {
namespace {

constexpr std::string_view kFraction = "(?:\\.[0-9]+)?";

std::string digit_class(int low, int high) {
  return low > high ? "" : fmt::format("[{}-{}]", low, high);
}

int digit(char c) {
  return c - '0';
}

std::string alternatives(const std::vector<std::string>& parts) {
  return parts.empty() ? "[^\\s\\S]" : fmt::format("(?:{})", fmt::join(parts, "|"));
}

// Decimals without sign that are at least (above) the bound's digits.
std::string at_least(const Decimal& bound, bool exclusive) {
  const std::string& whole = bound.whole;
  const std::string& fraction = bound.fraction;
  const size_t length = whole.size();
  std::vector<std::string> parts = {fmt::format("[1-9][0-9]{{{},}}{}", length, kFraction)};
  for (size_t i = 0; i < length; ++i) {
    if (whole[i] == '9') continue;
    parts.push_back(fmt::format("{}{}[0-9]{{{}}}{}", whole.substr(0, i), digit_class(digit(whole[i]) + 1, 9),
                                length - 1 - i, kFraction));
  }
  if (fraction.empty()) {
    parts.push_back(whole + (exclusive ? "\\.[0-9]*[1-9][0-9]*" : std::string(kFraction)));
  }
  for (size_t i = 0; i < fraction.size(); ++i) {
    if (fraction[i] == '9') continue;
    parts.push_back(
        fmt::format("{}\\.{}{}[0-9]*", whole, fraction.substr(0, i), digit_class(digit(fraction[i]) + 1, 9)));
  }
  if (!fraction.empty()) {
    parts.push_back(fmt::format("{}\\.{}{}", whole, fraction, exclusive ? "[0-9]*[1-9][0-9]*" : "[0-9]*"));
  }
  return alternatives(parts);
}

std::string at_most(const Decimal& bound, bool exclusive) {
  const std::string& whole = bound.whole;
  const std::string& fraction = bound.fraction;
  const size_t length = whole.size();
  std::vector<std::string> parts;
  if (length > 1) {
    parts.push_back(fmt::format("0{}", kFraction));
    parts.push_back(fmt::format("[1-9][0-9]{{0,{}}}{}", length - 2, kFraction));
  }
  for (size_t i = 0; i < length; ++i) {
    const std::string less = digit_class(i == 0 && length > 1 ? 1 : 0, digit(whole[i]) - 1);
    if (less.empty()) continue;
    parts.push_back(fmt::format("{}{}[0-9]{{{}}}{}", whole.substr(0, i), less, length - 1 - i, kFraction));
  }
  if (fraction.empty()) {
    if (!exclusive) parts.push_back(whole + "(?:\\.0+)?");
    return alternatives(parts);
  }
  parts.push_back(whole);
  for (size_t i = 0; i < fraction.size(); ++i) {
    const std::string less = digit_class(0, digit(fraction[i]) - 1);
    if (!less.empty()) parts.push_back(fmt::format("{}\\.{}{}[0-9]*", whole, fraction.substr(0, i), less));
    if (i > 0) parts.push_back(fmt::format("{}\\.{}", whole, fraction.substr(0, i)));
  }
  if (!exclusive) parts.push_back(fmt::format("{}\\.{}0*", whole, fraction));
  return alternatives(parts);
}

Result<CharDfa> whole_regex(const std::string& text) {
  return compile_regex(text, RegexMatch::whole);
}

// Texts with `sign` before a number without sign between the two.
Result<CharDfa> magnitudes(const char* sign, const std::optional<Bound>& low, const std::optional<Bound>& high,
                           bool with_fraction) {
  MOXIE_TRY(CharDfa all,
            whole_regex(fmt::format("{}(?:0|[1-9][0-9]*){}", sign, with_fraction ? kFraction : std::string_view())));
  if (low) {
    MOXIE_TRY(const CharDfa part, whole_regex(sign + at_least(low->value, low->exclusive)));
    MOXIE_TRY(all, CharDfa::both(all, part));
  }
  if (high) {
    MOXIE_TRY(const CharDfa part, whole_regex(sign + at_most(high->value, high->exclusive)));
    MOXIE_TRY(all, CharDfa::both(all, part));
  }
  return all;
}

int compare_magnitudes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole); order != 0) return order;
  return a.fraction.compare(b.fraction);  // without trailing zeros the order of text is that of value
}

// unit * 10^places as a whole number.
std::optional<uint64_t> scaled(const Decimal& unit) {
  const std::string digits = unit.whole + unit.fraction;
  uint64_t value = 0;
  for (const char c : digits) {
    if (value > 100'000'000) return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(digit(c));
  }
  return value;
}

}  // namespace

std::optional<Decimal> Decimal::from(const Json& number) {
  std::string text;
  if (const auto* value = number.get_if<int64_t>()) {
    text = fmt::format("{}", *value);
  } else if (const auto* large = number.get_if<uint64_t>()) {
    text = fmt::format("{}", *large);
  } else if (const auto* real = number.get_if<double>()) {
    text = fmt::format("{}", *real);
  } else {
    return std::nullopt;
  }
  Decimal out;
  out.negative = text[0] == '-';
  if (out.negative) text.erase(0, 1);
  int exponent = 0;
  if (const size_t e = text.find('e'); e != std::string::npos) {
    exponent = std::stoi(text.substr(e + 1));
    text.resize(e);
  }
  const size_t point = std::min(text.find('.'), text.size());
  std::string digits = text.substr(0, point) + (point < text.size() ? text.substr(point + 1) : "");
  int places = static_cast<int>(point) + exponent;  // digits before the point
  if (places < 0) {
    digits.insert(0, static_cast<size_t>(-places), '0');
    places = 0;
  }
  if (static_cast<size_t>(places) > digits.size()) digits.append(static_cast<size_t>(places) - digits.size(), '0');
  out.whole = digits.substr(0, static_cast<size_t>(places));
  out.fraction = digits.substr(static_cast<size_t>(places));
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  if (out.whole.empty()) out.whole = "0";
  out.fraction.resize(out.fraction.find_last_not_of('0') + 1);
  if (out.is_zero()) out.negative = false;
  return out;
}

std::string Decimal::text() const {
  return (negative ? "-" : "") + whole + (fraction.empty() ? "" : "." + fraction);
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

Result<CharDfa> number_between(const std::optional<Bound>& low, const std::optional<Bound>& high, bool with_fraction) {
  CharDfa out = CharDfa::nothing();
  if (!high || !high->value.negative) {
    const bool needs_low = low && !low->value.negative;
    MOXIE_TRY(const CharDfa part, magnitudes("", needs_low ? low : std::nullopt, high, with_fraction));
    MOXIE_TRY(out, CharDfa::either(out, part));
  }
  if (!low || low->value.negative) {
    const bool needs_high = high && (high->value.negative || (high->value.is_zero() && high->exclusive));
    MOXIE_TRY(const CharDfa part, magnitudes("-", needs_high ? high : std::nullopt, low, with_fraction));
    MOXIE_TRY(out, CharDfa::either(out, part));
  }
  return out;
}

Result<CharDfa> number_multiple(const Decimal& unit) {
  constexpr uint64_t kUnitMax = 2000;
  const auto modulus = scaled(unit);
  const size_t places = unit.fraction.size();
  if (!modulus || *modulus == 0 || *modulus * (places + 2) > kUnitMax * 4) {
    return fail(ErrorCode::unsupported, "multipleOf {} needs too many states; at most {} different rests are counted",
                unit.text(), kUnitMax);
  }
  const uint64_t k = *modulus;
  // States: 0 nothing yet, 1 a sign, then a "0" that nothing but a point follows, then (phase, rest): phase 0 digits
  // before the point, 1 the point, then one a digit after it, up to `places`, after which only zeros come.
  const size_t phases = places + 3;
  const auto id = [&](size_t phase, uint64_t rest) { return static_cast<uint32_t>(3 + phase * k + rest); };
  CharDfa out;
  out.states.resize(3 + phases * k);
  const auto fits = [&](uint64_t rest, size_t digits) {
    for (size_t i = digits; i < places; ++i) rest = rest * 10 % k;
    return rest == 0;
  };
  const auto edge = [&](uint32_t from, char c, uint32_t to) {
    out.states[from].edges.push_back({static_cast<uint32_t>(c), static_cast<uint32_t>(c), to});
  };
  edge(0, '-', 1);
  for (const uint32_t from : {0u, 1u}) {
    edge(from, '0', 2);
    for (char c = '1'; c <= '9'; ++c) edge(from, c, id(0, static_cast<uint64_t>(digit(c)) % k));
  }
  out.states[2].accepting = true;
  edge(2, '.', id(1, 0));
  for (uint64_t rest = 0; rest < k; ++rest) {
    edge(id(0, rest), '.', id(1, rest));
    for (char c = '0'; c <= '9'; ++c) {
      const uint64_t next = (rest * 10 + static_cast<uint64_t>(digit(c))) % k;
      edge(id(0, rest), c, id(0, next));
      for (size_t after = 0; after < places; ++after) edge(id(1 + after, rest), c, id(2 + after, next));
    }
    out.states[id(0, rest)].accepting = fits(rest, 0);
    for (size_t after = 1; after <= places; ++after) out.states[id(1 + after, rest)].accepting = fits(rest, after);
    edge(id(1 + places, rest), '0', id(2 + places, rest));
    edge(id(2 + places, rest), '0', id(2 + places, rest));
    out.states[id(2 + places, rest)].accepting = fits(rest, places);
  }
  out.trim();
  return out;
}

bool is_multiple(const Decimal& number, const Decimal& unit) {
  const auto dfa = number_multiple(unit);
  return !dfa.ok() || dfa->accepts(number.text());
}

std::string_view format_pattern(std::string_view name) {
#define MOXIE_DAY                                                                                       \
  "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|" \
  "02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
#define MOXIE_ZONE "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define MOXIE_TIME                                                         \
  "(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?" MOXIE_ZONE \
  "|23:59:60(?:\\.[0-9]+)?(?:[Zz]|[+-]00:00)"                              \
  ")"
#define MOXIE_BYTE "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define MOXIE_V4 MOXIE_BYTE "(?:\\." MOXIE_BYTE "){3}"
#define MOXIE_H "[0-9A-Fa-f]{1,4}"
#define MOXIE_LOW32 "(?:" MOXIE_H ":" MOXIE_H "|" MOXIE_V4 ")"
#define MOXIE_LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define MOXIE_URI_CHARS "(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
  static const std::map<std::string_view, std::string_view> kPatterns = {
      {"date", MOXIE_DAY},
      {"time", MOXIE_TIME},
      {"date-time", MOXIE_DAY "[Tt]" MOXIE_TIME},
      {"duration",
       "P(?:[0-9]+W|(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
       "(?:T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S))?|"
       "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S))"},
      {"uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"},
      {"email",
       "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@" MOXIE_LABEL "(?:\\." MOXIE_LABEL ")*"},
      {"hostname", MOXIE_LABEL "(?:\\." MOXIE_LABEL ")*"},
      {"ipv4", MOXIE_V4},
      {"ipv6", "(?:" MOXIE_H ":){6}" MOXIE_LOW32 "|::(?:" MOXIE_H ":){5}" MOXIE_LOW32 "|(?:" MOXIE_H ")?::(?:" MOXIE_H
               ":){4}" MOXIE_LOW32 "|(?:(?:" MOXIE_H ":){0,1}" MOXIE_H ")?::(?:" MOXIE_H ":){3}" MOXIE_LOW32
               "|(?:(?:" MOXIE_H ":){0,2}" MOXIE_H ")?::(?:" MOXIE_H ":){2}" MOXIE_LOW32 "|(?:(?:" MOXIE_H
               ":){0,3}" MOXIE_H ")?::" MOXIE_H ":" MOXIE_LOW32 "|(?:(?:" MOXIE_H ":){0,4}" MOXIE_H ")?::" MOXIE_LOW32
               "|(?:(?:" MOXIE_H ":){0,5}" MOXIE_H ")?::" MOXIE_H "|(?:(?:" MOXIE_H ":){0,6}" MOXIE_H ")?::"},
      {"uri", "[A-Za-z][A-Za-z0-9+.-]*:" MOXIE_URI_CHARS "+(?:#" MOXIE_URI_CHARS "*)?"},
      {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
  };
#undef MOXIE_DAY
#undef MOXIE_ZONE
#undef MOXIE_TIME
#undef MOXIE_BYTE
#undef MOXIE_V4
#undef MOXIE_H
#undef MOXIE_LOW32
#undef MOXIE_LABEL
#undef MOXIE_URI_CHARS
  const auto found = kPatterns.find(name);
  return found == kPatterns.end() ? std::string_view() : found->second;
}

}  // namespace moxie::grammar

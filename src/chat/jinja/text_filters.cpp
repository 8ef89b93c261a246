// Filters that give text or numbers.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "chat/jinja/filters.h"
#include "chat/jinja/interpreter.h"
#include "chat/jinja/python_text.h"
#include "text/utf8.h"

namespace moxie::jinja {
namespace {

// Text as it is, anything else as str() gives it; charged.
Result<Value> soft_text(Interpreter& interpreter, const Value& value) {
  if (value.text()) {
    MOXIE_TRY_VOID(interpreter.charge_made(value.text()->bytes.size()));
    return value;
  }
  MOXIE_TRY(std::string text, interpreter.text_of(value));
  return Value(std::move(text));
}

using Whole = std::string (*)(std::string_view);

// The filter `title`: words begin after white space and brackets, not after every letter without case.
std::string title_words(std::string_view text) {
  std::string to;
  bool within = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    const std::string_view bytes = text.substr(at, c.bytes);
    const bool between = is_space(c.code) || std::string_view("-({[<").find(bytes) != std::string_view::npos;
    if (between) {
      to += bytes;
    } else {
      to += within ? lower(bytes) : upper(bytes);
    }
    within = !between;
    at += c.bytes;
  }
  return to;
}

template <Whole function>
Result<Value> change(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("filter", arguments, {}));
  MOXIE_TRY(const Value text, soft_text(interpreter, operand));
  return Value(function(text.text()->bytes), text.text()->markup);
}

Result<Value> call_method(Interpreter& interpreter, const Value& operand, std::string_view method,
                          const Arguments& arguments) {
  MOXIE_TRY(const Value text, soft_text(interpreter, operand));
  return find_text_method(method)->function(interpreter, text, arguments);
}

Result<Value> trim(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  return call_method(interpreter, operand, "strip", arguments);
}

Result<Value> center(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("center", arguments, {"width"}));
  return call_method(interpreter, operand, "center", Arguments{{bound[0] ? *bound[0] : Value(80)}, {}});
}

Result<Value> replace_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("replace", arguments, {"old", "new", "count"}, 2));
  MOXIE_TRY(std::string text, interpreter.text_of(operand));
  MOXIE_TRY(std::string from, interpreter.text_of(*bound[0]));
  MOXIE_TRY(std::string to, interpreter.text_of(*bound[1]));
  Arguments plain{{Value(std::move(from)), Value(std::move(to))}, {}};
  if (bound[2] && !bound[2]->is_none()) plain.positional.push_back(*bound[2]);
  return find_text_method("replace")->function(interpreter, Value(std::move(text)), plain);
}

Result<Value> string_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("string", arguments, {}));
  return soft_text(interpreter, operand);
}

Result<Value> safe(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("safe", arguments, {}));
  MOXIE_TRY(std::string text, interpreter.text_of(operand));
  return Value(std::move(text), true);
}

template <bool force>
Result<Value> escape(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("escape", arguments, {}));
  if (!force && operand.text() && operand.text()->markup) return operand;
  MOXIE_TRY(const std::string text, interpreter.text_of(operand));
  std::string escaped = html_escaped(text);
  MOXIE_TRY_VOID(interpreter.charge_made(escaped.size()));
  return Value(std::move(escaped), true);
}

Result<Value> indent(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("indent", arguments, {"width", "first", "blank"}));
  if (operand.is_undefined()) return undefined_error(operand);
  if (!operand.text()) return bad("indent wants a text, not {}", type_name(operand));
  std::string indention(4, ' ');
  if (bound[0] && bound[0]->text()) {
    indention = bound[0]->text()->bytes;
  } else if (bound[0]) {
    MOXIE_TRY(const int64_t width, int_argument("indent", "width", *bound[0]));
    MOXIE_TRY_VOID(interpreter.charge_made(static_cast<uint64_t>(std::max<int64_t>(width, 0))));
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const bool first = bound[1] && truth(*bound[1]), blank = bound[2] && truth(*bound[2]);
  const std::vector<std::string> lines = split_lines(operand.text()->bytes + "\n", false);
  MOXIE_TRY_VOID(interpreter.charge_made(operand.text()->bytes.size() + lines.size() * (indention.size() + 32)));
  std::string text = first ? indention : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      text += '\n';
      if (blank || !lines[i].empty()) text += indention;
    }
    text += lines[i];
  }
  return Value(std::move(text), operand.text()->markup);
}

Result<Value> truncate(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("truncate", arguments, {"length", "killwords", "end", "leeway"}));
  if (operand.is_undefined() && !arguments.positional.empty()) return Value("");
  if (!operand.text()) return bad("truncate wants a text, not {}", type_name(operand));
  int64_t length = 255, leeway = 5;
  if (bound[0]) {
    MOXIE_TRY(length, int_argument("truncate", "length", *bound[0]));
  }
  if (bound[3] && !bound[3]->is_none()) {
    MOXIE_TRY(leeway, int_argument("truncate", "leeway", *bound[3]));
  }
  std::string end = "...";
  if (bound[2]) {
    MOXIE_TRY(end, interpreter.text_of(*bound[2]));
  }
  const auto end_length = static_cast<int64_t>(count_characters(end));
  if (length < end_length || leeway < 0) return bad("expected length >= {}, got {}", end_length, length);
  const Text& text = *operand.text();
  if (static_cast<int64_t>(text.length) <= length + leeway) return operand;
  std::string cut = text.bytes.substr(0, byte_of(text.bytes, static_cast<size_t>(length - end_length), text.ascii));
  if (!bound[1] || !truth(*bound[1])) {
    if (const size_t space = cut.rfind(' '); space != std::string::npos) cut.resize(space);
  }
  return Value(cut + end, text.markup);
}

Result<Value> word_count(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("wordcount", arguments, {}));
  MOXIE_TRY(const std::string text, interpreter.text_of(operand));
  Int count = 0;
  bool within = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    const bool word = c.code == '_' || is_alphabetic(c.code) || is_numeric(c.code);
    if (word && !within) ++count;
    within = word;
    at += c.bytes;
  }
  return Value(count);
}

// "<b>a</b>  b" to "a b": comments and tags go, runs of white space become one space.
Result<Value> strip_tags(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("striptags", arguments, {}));
  MOXIE_TRY(std::string text, interpreter.text_of(operand));
  const auto remove = [&text](std::string_view open, std::string_view close) {
    std::string kept;
    size_t at = 0;
    for (;;) {
      const size_t begin = text.find(open, at);
      const size_t end = begin == std::string::npos ? begin : text.find(close, begin + open.size());
      if (end == std::string::npos) break;
      kept += text.substr(at, begin - at);
      at = end + close.size();
    }
    text = kept + text.substr(at);
  };
  remove("<!--", "-->");
  remove("<", ">");
  std::string joined;
  for (const std::string& word : split(text, {}, -1)) joined += (joined.empty() ? "" : " ") + word;
  constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&#34;", "\""}, {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}};
  for (const auto& [entity, plain] : kEntities) joined = replace(joined, entity, plain, -1);
  return Value(std::move(joined));
}

void append_quoted_url(std::string& to, std::string_view text, bool query) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !query);
    if (plain) {
      to += c;
    } else if (c == ' ' && query) {
      to += '+';
    } else {
      to += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
}

Result<Value> url_encode(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("urlencode", arguments, {}));
  std::string made;
  if (operand.text() || operand.is_number() || operand.is_none()) {
    MOXIE_TRY(const std::string text, interpreter.text_of(operand));
    MOXIE_TRY_VOID(interpreter.charge_made(text.size() * 3));
    append_quoted_url(made, text, false);
    return Value(std::move(made));
  }
  MOXIE_TRY(
      const auto pairs,
      interpreter.items(operand.dict()
                            ? Value(std::shared_ptr<Object>(std::make_shared<DictView>(operand, DictView::Part::items)))
                            : operand));
  for (const Value& pair : pairs) {
    MOXIE_TRY(const auto parts, interpreter.items(pair));
    if (parts.size() != 2) return bad("urlencode wants pairs of a name and a value");
    for (size_t i = 0; i < 2; ++i) {
      MOXIE_TRY(const std::string text, interpreter.text_of(parts[i]));
      MOXIE_TRY_VOID(interpreter.charge_made(text.size() * 3));
      if (i == 0 && !made.empty()) made += '&';
      append_quoted_url(made, text, true);
      if (i == 0) made += '=';
    }
  }
  return Value(std::move(made));
}

Result<Value> xml_attributes(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("xmlattr", arguments, {"autospace"}));
  if (!operand.dict()) return bad("xmlattr wants a mapping, not {}", type_name(operand));
  std::string made;
  for (const auto& [key, value] : operand.dict()->entries) {
    if (value.is_none() || value.is_undefined()) continue;
    MOXIE_TRY(const std::string name, interpreter.text_of(key));
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      return bad("Invalid character in attribute name: {}", to_repr(key));
    }
    MOXIE_TRY(const Value text, escape<false>(interpreter, value, {}));
    MOXIE_TRY_VOID(interpreter.charge_made(name.size() * 6));
    made += fmt::format("{}{}=\"{}\"", made.empty() ? "" : " ", html_escaped(name), text.text()->bytes);
  }
  const bool space = !bound[0] || truth(*bound[0]);
  return Value(space && !made.empty() ? " " + made : made);
}

Result<Value> format_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    return bad("can't handle positional and keyword arguments at the same time");
  }
  MOXIE_TRY(const Value text, soft_text(interpreter, operand));
  if (arguments.named.empty()) return percent_format(interpreter, *text.text(), Value::tuple(arguments.positional));
  DictBuilder named;
  for (const auto& [name, value] : arguments.named) named.set(name, value);
  return percent_format(interpreter, *text.text(), named.finish());
}

Result<Value> to_json(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ascii = bound[0] && truth(*bound[0]);
  style.sort_keys = bound[3] && truth(*bound[3]);
  if (bound[1] && bound[1]->text()) {
    style.indent = bound[1]->text()->bytes;
  } else if (bound[1] && !bound[1]->is_none()) {
    MOXIE_TRY(const int64_t width, int_argument("tojson", "indent", *bound[1]));
    if (width > 100) return bad("tojson(): an indent of {}; at most 100", width);
    style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  style.item_separator = style.indent ? "," : ", ";
  style.key_separator = ": ";
  if (bound[2] && !bound[2]->is_none()) {
    MOXIE_TRY(const auto parts, interpreter.items(*bound[2]));
    if (parts.size() != 2 || !parts[0].text() || !parts[1].text()) return bad("tojson(): separators are two texts");
    style.item_separator = parts[0].text()->bytes;
    style.key_separator = parts[1].text()->bytes;
  }
  const uint64_t per_value = 8 + style.item_separator.size() + style.key_separator.size() +
                             (style.indent ? style.indent->size() * static_cast<uint64_t>(operand.extent().depth) : 0);
  MOXIE_TRY_VOID(interpreter.charge_made(operand.extent().weight));
  if (style.indent) MOXIE_TRY_VOID(interpreter.charge(operand.extent().weight / 4 * per_value));
  MOXIE_TRY(std::string text, json_text(operand, style));
  MOXIE_TRY_VOID(interpreter.charge_made(text.size()));
  return Value(std::move(text));
}

// ---- numbers ----

std::string without_underscores(std::string_view text) {
  std::string to;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at]));
    };
    if (text[i] == '_' && i > 0 && digit(i - 1) && digit(i + 1)) continue;
    to += text[i];
  }
  return to;
}

std::optional<double> parse_real(std::string_view text) {
  const std::string number = lower(without_underscores(strip(text, {}, Side::both)));
  std::string_view digits = number;
  if (digits.starts_with('+') || digits.starts_with('-')) digits.remove_prefix(1);
  const bool word = digits == "inf" || digits == "infinity" || digits == "nan";
  if (!word && digits.find_first_not_of("0123456789.e+-") != std::string_view::npos) return std::nullopt;
  if (!word && digits.find_first_of("0123456789") == std::string_view::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (number.empty() || *end != '\0') return std::nullopt;
  return value;
}

// nullopt: no number. An error: one beyond what is held.
Result<std::optional<Int>> parse_int(std::string_view given, int64_t base) {
  const std::string stripped = lower(without_underscores(strip(given, {}, Side::both)));
  std::string_view text = stripped;
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto skip_prefix = [&](std::string_view prefix, int64_t of) {
    if ((base == of || base == 0) && text.starts_with(prefix)) {
      text.remove_prefix(2);
      base = of;
    }
  };
  skip_prefix("0x", 16);
  skip_prefix("0o", 8);
  skip_prefix("0b", 2);
  if (base == 0) base = 10;
  if (text.empty() || base < 2 || base > 36) return std::optional<Int>();
  Int value = 0;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
    if (digit >= base) return std::optional<Int>();
    if (__builtin_mul_overflow(value, Int{base}, &value) || __builtin_add_overflow(value, Int{digit}, &value)) {
      return fail(ErrorCode::unsupported, "a whole number beyond 127 bits");
    }
  }
  return std::optional<Int>(negative ? -value : value);
}

Result<Value> int_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("int", arguments, {"default", "base"}));
  const Value otherwise = bound[0] ? *bound[0] : Value(0);
  int64_t base = 10;
  if (bound[1]) {
    MOXIE_TRY(base, int_argument("int", "base", *bound[1]));
  }
  if (operand.is_undefined()) return undefined_error(operand);
  Int whole = 0;
  if (operand.as_int(whole)) return Value(whole);
  std::optional<double> real;
  if (operand.real()) real = *operand.real();
  if (operand.text()) {
    MOXIE_TRY_VOID(interpreter.charge(operand.text()->bytes.size()));
    MOXIE_TRY(const auto parsed, parse_int(operand.text()->bytes, base));
    if (parsed) return Value(*parsed);
    real = parse_real(operand.text()->bytes);
    if (real && std::isinf(*real)) return otherwise;
  }
  if (!real || std::isnan(*real)) return otherwise;
  if (std::abs(*real) > 1e37) return bad("cannot convert float {} to integer", float_repr(*real));
  return Value(static_cast<Int>(*real));
}

Result<Value> float_filter(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("float", arguments, {"default"}));
  if (operand.is_undefined()) return undefined_error(operand);
  double real = 0;
  if (operand.as_double(real)) return Value(real);
  if (operand.text()) {
    MOXIE_TRY_VOID(interpreter.charge(operand.text()->bytes.size()));
    if (const auto parsed = parse_real(operand.text()->bytes)) return Value(*parsed);
  }
  return bound[0] ? *bound[0] : Value(0.0);
}

Result<Value> abs_filter(Interpreter&, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("abs", arguments, {}));
  if (operand.real()) return Value(std::abs(*operand.real()));
  Int whole = 0;
  if (!operand.as_int(whole)) return bad("bad operand type for abs(): '{}'", type_name(operand));
  return whole < 0 ? negate(Value(whole)) : Value(whole);
}

// Half to even of the exact value, as Python's round().
double rounded(double value, int64_t precision) {
  if (!std::isfinite(value)) return value;
  if (precision >= 0) {
    if (precision > 300) return value;
    return std::strtod(fmt::format("{:.{}f}", value, precision).c_str(), nullptr);
  }
  if (precision < -300) return std::copysign(0.0, value);
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return std::nearbyint(value / unit) * unit;
}

Result<Value> round_filter(Interpreter&, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("round", arguments, {"precision", "method"}));
  int64_t precision = 0;
  if (bound[0]) {
    MOXIE_TRY(precision, int_argument("round", "precision", *bound[0]));
  }
  const std::string method = bound[1] ? to_text(*bound[1]) : "common";
  if (method != "common" && method != "ceil" && method != "floor") return bad("method must be common, ceil or floor");
  double real = 0;
  Int whole = 0;
  if (!operand.as_double(real)) return bad("type {} doesn't define __round__ method", type_name(operand));
  if (method == "common") {
    if (operand.as_int(whole) && precision >= 0) return Value(whole);
    if (operand.as_int(whole)) return Value(static_cast<Int>(rounded(real, precision)));
    return Value(rounded(real, precision));
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  return Value((method == "ceil" ? std::ceil(real * unit) : std::floor(real * unit)) / unit);
}

Result<Value> file_size(Interpreter& interpreter, const Value& operand, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("filesizeformat", arguments, {"binary"}));
  MOXIE_TRY(const Value number, float_filter(interpreter, operand, {}));
  const double bytes = *number.real();
  const bool binary = bound[0] && truth(*bound[0]);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value("1 Byte");
  if (!(bytes >= base)) return Value(fmt::format("{:.0f} Bytes", std::trunc(bytes)));
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  size_t i = 0;
  for (; i + 1 < kPrefixes.size() && bytes >= unit * base; ++i) unit *= base;
  const char prefix = binary && i == 0 ? 'K' : kPrefixes[i];
  return Value(fmt::format("{:.1f} {}{}", bytes / unit, prefix, binary ? "iB" : "B"));
}

constexpr FilterEntry kTextFilters[] = {
    {"abs", abs_filter},
    {"capitalize", change<capitalize>},
    {"center", center},
    {"e", escape<false>},
    {"escape", escape<false>},
    {"filesizeformat", file_size},
    {"float", float_filter},
    {"forceescape", escape<true>},
    {"format", format_filter},
    {"indent", indent},
    {"int", int_filter},
    {"lower", change<lower>},
    {"replace", replace_filter},
    {"round", round_filter},
    {"safe", safe},
    {"string", string_filter},
    {"striptags", strip_tags},
    {"title", change<title_words>},
    {"tojson", to_json},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", change<upper>},
    {"urlencode", url_encode},
    {"wordcount", word_count},
    {"xmlattr", xml_attributes},
};

}  // namespace

std::span<const FilterEntry> text_filters() {
  return kTextFilters;
}

}  // namespace moxie::jinja

// "%s" % values and "{}".format(values).
#include <algorithm>
#include <cmath>

#include "chat/jinja/interpreter.h"
#include "chat/jinja/python_text.h"
#include "text/utf8.h"

namespace moxie::jinja {
namespace {

constexpr int64_t kWidthMax = 1 << 16;  // of a field
constexpr int kPrecisionMax = 1000;

struct Spec {
  std::string fill = " ";
  char align = 0;  // '<' '>' '^' '='; 0: as the type has it
  char sign = '-';
  bool alternate = false;
  char grouping = 0;
  int64_t width = 0;
  int precision = -1;
  char type = 0;
};

std::string with_base(Int value, char type, bool alternate) {
  const bool negative = value < 0;
  // One step of the division is done on the negative side, so that the lowest number works.
  const int base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'd' ? 10 : 16;
  std::string digits;
  do {
    const auto digit = static_cast<int>(value % base);
    digits += (type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[std::abs(digit)];
    value /= base;
  } while (value != 0);
  if (alternate && type != 'd') digits += std::string(1, type) + "0";
  if (negative) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string group_digits(std::string number, char grouping) {
  size_t begin = number.find_first_of("0123456789");
  if (begin == std::string::npos) return number;
  size_t end = begin;
  while (end < number.size() && number[end] >= '0' && number[end] <= '9') ++end;
  for (size_t at = end; at > begin + 3;) {
    at -= 3;
    number.insert(at, 1, grouping);
  }
  return number;
}

// %g without the alternate form: trailing zeros go.
std::string real_text(double value, char type, int precision, bool alternate) {
  if (std::isnan(value)) return type < 'a' && type != 0 ? "NAN" : "nan";
  if (std::isinf(value)) {
    const std::string text = type < 'a' && type != 0 ? "INF" : "inf";
    return value < 0 ? "-" + text : text;
  }
  const std::string directive = fmt::format("%{}.*{}", alternate ? "#" : "", type);
  std::string text(static_cast<size_t>(std::snprintf(nullptr, 0, directive.c_str(), precision, value)), '\0');
  std::snprintf(text.data(), text.size() + 1, directive.c_str(), precision, value);
  return text;
}

// `signed_text` begins with '-' where it is negative.
std::string padded(std::string text, const Spec& spec, bool number) {
  std::string sign;
  if (number) {
    if (text.starts_with('-')) {
      sign = "-";
      text.erase(0, 1);
    } else if (spec.sign != '-') {
      sign = std::string(1, spec.sign);
    }
  }
  const int64_t pad = spec.width - static_cast<int64_t>(count_characters(text) + sign.size());
  if (pad <= 0) return sign + text;
  const char align = spec.align ? spec.align : number ? '>' : '<';
  std::string left, right;
  const int64_t before = align == '<' ? 0 : align == '^' ? pad / 2 : pad;
  for (int64_t i = 0; i < before; ++i) left += spec.fill;
  for (int64_t i = before; i < pad; ++i) right += spec.fill;
  return align == '=' ? sign + left + text : left + sign + text + right;
}

Result<std::string> format_integer(Int value, const Spec& spec) {
  if (spec.type == 'c') {
    if (value < 0 || value > 0x10FFFF) return bad("%c arg not in range(0x110000)");
    std::string character;
    append_utf8(character, static_cast<uint32_t>(value));
    return padded(std::move(character), spec, false);
  }
  std::string text = with_base(value, spec.type == 0 || spec.type == 'n' ? 'd' : spec.type, spec.alternate);
  if (spec.grouping) text = group_digits(std::move(text), spec.grouping);
  return padded(std::move(text), spec, true);
}

Result<std::string> format_real(double value, Spec spec) {
  std::string text;
  if (spec.type == 0 && spec.precision < 0) {
    text = float_repr(value);
  } else {
    const bool percent = spec.type == '%';
    const char type = spec.type == 0 || spec.type == 'n' ? 'g' : percent ? 'f' : spec.type;
    text = real_text(percent ? value * 100 : value, type, spec.precision < 0 ? 6 : spec.precision, spec.alternate);
    if (spec.type == 0 && text.find_first_of(".en") == std::string::npos) text += ".0";
    if (percent) text += '%';
  }
  if (spec.grouping) text = group_digits(std::move(text), spec.grouping);
  return padded(std::move(text), spec, true);
}

Result<std::string> format_text(std::string_view text, const Spec& spec) {
  if (spec.precision >= 0) text = text.substr(0, byte_of(text, static_cast<size_t>(spec.precision), is_ascii(text)));
  return padded(std::string(text), spec, false);
}

// format(value, spec) of Python.
Result<std::string> format_value(const Value& value, const Spec& spec, bool has_spec) {
  Int whole = 0;
  if (!has_spec) return to_text(value);
  if (value.text() || value.is_undefined()) {
    if (spec.type != 0 && spec.type != 's') return bad("Unknown format code '{}' for object of type 'str'", spec.type);
    return format_text(to_text(value), spec);
  }
  constexpr std::string_view kReal = "eEfFgG%";
  const bool wants_real = spec.type != 0 && kReal.find(spec.type) != std::string_view::npos;
  if (value.boolean() && spec.type == 0) return format_text(to_text(value), spec);
  if (value.as_int(whole) && !wants_real) {
    if (spec.precision >= 0) return bad("Precision not allowed in integer format specifier");
    if (spec.type == 's') return bad("Unknown format code 's' for object of type 'int'");
    return format_integer(whole, spec);
  }
  double real = 0;
  if (value.as_double(real)) {
    if (spec.type != 0 && spec.type != 'n' && !wants_real) {
      return bad("Unknown format code '{}' for object of type 'float'", spec.type);
    }
    return format_real(real, spec);
  }
  return bad("unsupported format string passed to {}.__format__", type_name(value));
}

Result<Spec> parse_spec(std::string_view text) {
  Spec spec;
  constexpr std::string_view kAligns = "<>=^";
  const size_t first = text.empty() ? 0 : byte_of(text, 1, is_ascii(text));
  if (first > 0 && first < text.size() && kAligns.find(text[first]) != std::string_view::npos) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (!text.empty() && kAligns.find(text[0]) != std::string_view::npos) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
  const auto take = [&](std::string_view of) -> char {
    if (text.empty() || of.find(text[0]) == std::string_view::npos) return 0;
    const char c = text[0];
    text.remove_prefix(1);
    return c;
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  spec.alternate = take("#") != 0;
  if (!text.empty() && text[0] == '0') {
    if (!spec.align) spec.align = '=';
    if (spec.fill == " ") spec.fill = "0";
  }
  while (const char digit = take("0123456789")) spec.width = std::min(spec.width * 10 + (digit - '0'), kWidthMax + 1);
  spec.grouping = take(",_");
  if (take(".")) {
    spec.precision = 0;
    if (text.empty() || text[0] < '0' || text[0] > '9') return bad("Format specifier missing precision");
    while (const char digit = take("0123456789")) {
      spec.precision = std::min(spec.precision * 10 + (digit - '0'), kPrecisionMax + 1);
    }
  }
  spec.type = take("bcdeEfFgGnosxX%");
  if (!text.empty()) return bad("Invalid format specifier");
  if (spec.width > kWidthMax || spec.precision > kPrecisionMax) {
    return fail(ErrorCode::unsupported, "a field wider than {} characters", kWidthMax);
  }
  return spec;
}

class BraceFormat {
 public:
  BraceFormat(Interpreter& interpreter, const Arguments& arguments)
      : interpreter_(interpreter), arguments_(arguments) {}

  Result<std::string> run(std::string_view format, int depth) {
    if (depth < 0) return bad("Max string recursion exceeded");
    std::string text;
    for (size_t i = 0; i < format.size(); ++i) {
      const char c = format[i];
      const char next = i + 1 < format.size() ? format[i + 1] : '\0';
      if (c == '}' && next != '}') return bad("Single '}}' encountered in format string");
      if ((c == '{' || c == '}') && next == c) {
        text += c;
        ++i;
      } else if (c == '{') {
        size_t end = i + 1;
        int open = 1;
        for (; end < format.size() && open > 0; ++end) open += format[end] == '{' ? 1 : format[end] == '}' ? -1 : 0;
        if (open > 0) return bad("expected '}}' before end of string");
        MOXIE_TRY(const std::string part, field(format.substr(i + 1, end - i - 2), depth));
        MOXIE_TRY_VOID(interpreter_.charge_made(part.size()));
        text += part;
        i = end - 1;
      } else {
        text += c;
      }
    }
    return text;
  }

 private:
  Result<std::string> field(std::string_view field, int depth) {
    size_t end = 0;
    for (int open = 0; end < field.size(); ++end) {
      open += field[end] == '[' ? 1 : field[end] == ']' ? -1 : 0;
      if (open == 0 && (field[end] == ':' || field[end] == '!')) break;
    }
    MOXIE_TRY(Value value, value_of(field.substr(0, end)));
    field.remove_prefix(end);
    if (field.starts_with('!')) {
      const char conversion = field.size() > 1 ? field[1] : '\0';
      MOXIE_TRY_VOID(interpreter_.charge_made(value.extent().weight));
      if (conversion == 'r' || conversion == 'a') {
        value = to_repr(value);
      } else if (conversion == 's') {
        value = to_text(value);
      } else {
        return bad("Unknown conversion specifier '{}'", conversion);
      }
      field.remove_prefix(2);
    }
    if (!field.empty() && field[0] != ':') return bad("expected ':' after conversion specifier");
    if (!field.empty()) field.remove_prefix(1);
    MOXIE_TRY(const std::string written, run(field, depth - 1));
    MOXIE_TRY(const Spec spec, parse_spec(written));
    MOXIE_TRY_VOID(interpreter_.charge_made(value.extent().weight));
    return format_value(value, spec, !written.empty());
  }

  Result<Value> value_of(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    MOXIE_TRY(Value value, argument(name.substr(0, end)));
    name.remove_prefix(end);
    while (!name.empty()) {
      if (name[0] == '.') {
        name.remove_prefix(1);
        const size_t stop = std::min(name.find_first_of(".["), name.size());
        if (stop == 0) return bad("Empty attribute in format string");
        MOXIE_TRY(value, interpreter_.attribute(value, name.substr(0, stop)));
        name.remove_prefix(stop);
      } else {
        const size_t stop = name.find(']');
        if (name[0] != '[' || stop == std::string_view::npos) return bad("Missing ']' in format string");
        const std::string_view key = name.substr(1, stop - 1);
        Int index = 0;
        MOXIE_TRY(value, interpreter_.item(value, is_index(key, index) ? Value(index) : Value(std::string(key))));
        name.remove_prefix(stop + 1);
      }
    }
    return value;
  }

  static bool is_index(std::string_view text, Int& index) {
    if (text.empty() || text.size() > 9) return false;
    index = 0;
    for (const char c : text) {
      if (c < '0' || c > '9') return false;
      index = index * 10 + (c - '0');
    }
    return true;
  }

  Result<Value> argument(std::string_view name) {
    Int index = 0;
    if (name.empty()) {
      index = next_++;
    } else if (!is_index(name, index)) {
      for (const auto& [key, value] : arguments_.named) {
        if (key == name) return value;
      }
      return bad("format() has no argument named '{}'", name);
    }
    if (index >= static_cast<Int>(arguments_.positional.size())) {
      return bad("Replacement index {} out of range for positional args tuple", int_text(index));
    }
    return arguments_.positional[static_cast<size_t>(index)];
  }

  Interpreter& interpreter_;
  const Arguments& arguments_;
  int next_ = 0;
};

class PercentFormat {
 public:
  PercentFormat(Interpreter& interpreter, const Value& values) : interpreter_(interpreter), values_(values) {}

  Result<std::string> run(std::string_view format) {
    std::string text;
    for (size_t i = 0; i < format.size(); ++i) {
      if (format[i] != '%') {
        text += format[i];
        continue;
      }
      if (++i >= format.size()) return bad("incomplete format");
      if (format[i] == '%') {
        text += '%';
        continue;
      }
      MOXIE_TRY(const std::string part, directive(format, i));
      MOXIE_TRY_VOID(interpreter_.charge_made(part.size()));
      text += part;
    }
    const bool tuple = values_.list() && values_.list()->tuple;
    // What has elements may be left unused, unless it is a tuple.
    const bool single = values_.is_number() || values_.is_none() || values_.text();
    if (tuple ? next_ < values_.list()->items.size() : single && next_ == 0) {
      return bad("not all arguments converted during string formatting");
    }
    return text;
  }

 private:
  // The directive whose first character after '%' is format[i]; i becomes its last.
  Result<std::string> directive(std::string_view format, size_t& i) {
    std::optional<Value> value;
    if (format[i] == '(') {
      const size_t end = format.find(')', i);
      if (end == std::string_view::npos) return bad("incomplete format key");
      if (!values_.dict()) return bad("format requires a mapping");
      const Value* found = values_.dict()->find(format.substr(i + 1, end - i - 1));
      if (!found) return bad("the mapping has no key '{}'", format.substr(i + 1, end - i - 1));
      value = *found;
      i = end + 1;
    }
    Spec spec;
    spec.align = '>';
    bool zero = false;
    for (; i < format.size() && std::string_view("-+ #0").find(format[i]) != std::string_view::npos; ++i) {
      if (format[i] == '-') spec.align = '<';
      if (format[i] == '+') spec.sign = '+';
      if (format[i] == ' ' && spec.sign != '+') spec.sign = ' ';
      if (format[i] == '#') spec.alternate = true;
      if (format[i] == '0') zero = true;
    }
    MOXIE_TRY(spec.width, number(format, i, 0));
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (i < format.size() && format[i] == '.') {
      ++i;
      MOXIE_TRY(const int64_t precision, number(format, i, 0));
      spec.precision = static_cast<int>(std::min<int64_t>(std::max<int64_t>(precision, 0), kPrecisionMax + 1));
    }
    while (i < format.size() && (format[i] == 'h' || format[i] == 'l' || format[i] == 'L')) ++i;
    if (i >= format.size()) return bad("incomplete format");
    if (spec.width > kWidthMax || spec.precision > kPrecisionMax) {
      return fail(ErrorCode::unsupported, "a field wider than {} characters", kWidthMax);
    }
    if (!value) {
      MOXIE_TRY(value, next());
    }
    return convert(*value, format[i], spec, zero && spec.align != '<');
  }

  Result<int64_t> number(std::string_view format, size_t& i, int64_t otherwise) {
    if (i < format.size() && format[i] == '*') {
      ++i;
      MOXIE_TRY(const Value value, next());
      return int_argument("%", "width", value);
    }
    int64_t made = otherwise;
    for (; i < format.size() && format[i] >= '0' && format[i] <= '9'; ++i) {
      made = std::min(made * 10 + (format[i] - '0'), kWidthMax + 1);
    }
    return made;
  }

  Result<Value> next() {
    if (values_.list() && values_.list()->tuple) {
      if (next_ >= values_.list()->items.size()) return bad("not enough arguments for format string");
      return values_.list()->items[next_++];
    }
    if (next_++ > 0) return bad("not enough arguments for format string");
    return values_;
  }

  Result<std::string> convert(const Value& value, char type, Spec spec, bool zero) {
    MOXIE_TRY_VOID(interpreter_.charge_made(value.extent().weight));
    if (type == 's') return format_text(to_text(value), spec);
    if (type == 'r' || type == 'a') return format_text(to_repr(value), spec);
    if (type == 'c' && value.text()) {
      if (value.text()->length != 1) return bad("%c requires int or char");
      return format_text(value.text()->bytes, spec);
    }
    if (zero) {
      spec.fill = "0";
      spec.align = '=';
    }
    Int whole = 0;
    double real = 0;
    if (value.is_undefined()) return undefined_error(value);
    if (!value.as_double(real)) return bad("%{} format: a real number is required, not {}", type, type_name(value));
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    if (std::string_view("eEfFgG").find(type) != std::string_view::npos) return format_real(real, spec);
    if (std::string_view("diuxXoc").find(type) == std::string_view::npos) {
      return bad("unsupported format character '{}'", type);
    }
    if (!value.as_int(whole)) {
      if (type != 'd' && type != 'i' && type != 'u') return bad("%{} format: an integer is required, not float", type);
      if (!std::isfinite(real) || std::abs(real) > 1e37)
        return bad("cannot convert float {} to integer", float_repr(real));
      whole = static_cast<Int>(real);
    }
    if (spec.precision > 0 && spec.type != 'c') {  // at least so many digits
      std::string digits = with_base(whole, spec.type, false);
      const bool negative = digits.starts_with('-');
      if (negative) digits.erase(0, 1);
      if (static_cast<int>(digits.size()) < spec.precision) {
        digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
      }
      return padded((negative ? "-" : "") + digits, spec, true);
    }
    return format_integer(whole, spec);
  }

  Interpreter& interpreter_;
  const Value& values_;
  size_t next_ = 0;
};

}  // namespace

Result<Value> percent_format(Interpreter& interpreter, const Text& format, const Value& values) {
  MOXIE_TRY_VOID(interpreter.charge_made(format.bytes.size()));
  MOXIE_TRY(std::string text, PercentFormat(interpreter, values).run(format.bytes));
  return Value(std::move(text), format.markup);
}

Result<Value> brace_format(Interpreter& interpreter, const Text& format, const Arguments& arguments) {
  MOXIE_TRY_VOID(interpreter.charge_made(format.bytes.size()));
  MOXIE_TRY(std::string text, BraceFormat(interpreter, arguments).run(format.bytes, 2));
  return Value(std::move(text), format.markup);
}

}  // namespace moxie::jinja

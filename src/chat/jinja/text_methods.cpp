// The methods of text: Python's str.
#include <algorithm>

#include "chat/jinja/interpreter.h"
#include "chat/jinja/python_text.h"
#include "text/utf8.h"

namespace moxie::jinja {
namespace {

const Text& self_text(const Value& self) {
  return *self.text();
}

Value like(const Value& self, std::string text) {
  return Value(std::move(text), self_text(self).markup);
}

Result<std::string_view> text_argument(std::string_view function, const Value& value) {
  if (value.is_undefined()) return undefined_error(value);
  if (!value.text()) return bad("{}() argument must be str, not {}", function, type_name(value));
  return std::string_view(value.text()->bytes);
}

using Whole = std::string (*)(std::string_view);

template <Whole function>
Result<Value> change_self(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY_VOID(bind("str method", arguments, {}));
  MOXIE_TRY_VOID(interpreter.charge_made(self_text(self).bytes.size()));
  return like(self, function(self_text(self).bytes));
}

template <Side side>
Result<Value> strip_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("strip", arguments, {"chars"}));
  std::optional<std::string_view> set;
  if (bound[0] && !bound[0]->is_none()) {
    MOXIE_TRY(set, text_argument("strip", *bound[0]));
  }
  MOXIE_TRY_VOID(interpreter.charge_made(self_text(self).bytes.size()));
  return like(self, std::string(strip(self_text(self).bytes, set, side)));
}

template <bool from_right>
Result<Value> split_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("split", arguments, {"sep", "maxsplit"}));
  std::optional<std::string_view> separator;
  int64_t most = -1;
  if (bound[0] && !bound[0]->is_none()) {
    MOXIE_TRY(separator, text_argument("split", *bound[0]));
    if (separator->empty()) return bad("empty separator");
  }
  if (bound[1]) {
    MOXIE_TRY(most, int_argument("split", "maxsplit", *bound[1]));
  }
  const std::string& text = self_text(self).bytes;
  MOXIE_TRY_VOID(interpreter.charge_made(text.size() * 16));  // each part is a value of its own
  std::vector<Value> parts;
  for (std::string& part : from_right ? split_right(text, separator, most) : split(text, separator, most)) {
    parts.push_back(like(self, std::move(part)));
  }
  return Value::list(std::move(parts));
}

Result<Value> split_lines_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("splitlines", arguments, {"keepends"}));
  const std::string& text = self_text(self).bytes;
  MOXIE_TRY_VOID(interpreter.charge_made(text.size() * 16));
  std::vector<Value> parts;
  for (std::string& line : split_lines(text, bound[0] && truth(*bound[0])))
    parts.push_back(like(self, std::move(line)));
  return Value::list(std::move(parts));
}

template <bool from_right>
Result<Value> partition(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("partition", arguments, {"sep"}, 1));
  MOXIE_TRY(const std::string_view separator, text_argument("partition", *bound[0]));
  if (separator.empty()) return bad("empty separator");
  const std::string_view text = self_text(self).bytes;
  MOXIE_TRY_VOID(interpreter.charge_made(text.size()));
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  const Value none = like(self, ""), all = like(self, std::string(text));
  if (at == std::string_view::npos) {
    return from_right ? Value::tuple({none, none, all}) : Value::tuple({all, none, none});
  }
  return Value::tuple({like(self, std::string(text.substr(0, at))), like(self, std::string(separator)),
                       like(self, std::string(text.substr(at + separator.size())))});
}

// The characters [start, stop) of find, count, startswith and the like, as bytes.
struct Window {
  size_t begin = 0, end = 0;
  bool empty_range = false;  // start lies beyond stop: not even "" is found
};

Result<Window> window(const Text& text, const Value* start, const Value* stop) {
  const auto length = static_cast<int64_t>(text.length);
  int64_t from = 0, to = length;
  if (start && !start->is_none()) {
    MOXIE_TRY(from, int_argument("find", "start", *start));
  }
  if (stop && !stop->is_none()) {
    MOXIE_TRY(to, int_argument("find", "end", *stop));
  }
  if (from < 0) from = std::max<int64_t>(from + length, 0);
  to = to < 0 ? std::max<int64_t>(to + length, 0) : std::min(to, length);
  Window made;
  made.empty_range = from > to;
  if (made.empty_range) return made;
  made.begin = byte_of(text.bytes, static_cast<size_t>(from), text.ascii);
  made.end = byte_of(text.bytes, static_cast<size_t>(to), text.ascii);
  return made;
}

template <bool at_start>
Result<Value> affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  constexpr std::string_view kName = at_start ? "startswith" : "endswith";
  MOXIE_TRY(const auto bound, bind(kName, arguments, {"prefix", "start", "end"}, 1));
  MOXIE_TRY(const Window at, window(self_text(self), bound[1], bound[2]));
  MOXIE_TRY_VOID(interpreter.charge(bound[0]->extent().weight));
  const std::string_view text = std::string_view(self_text(self).bytes).substr(at.begin, at.end - at.begin);
  const auto holds = [&](const Value& part) -> Result<bool> {
    MOXIE_TRY(const std::string_view wanted, text_argument(kName, part));
    return !at.empty_range && (at_start ? text.starts_with(wanted) : text.ends_with(wanted));
  };
  if (!bound[0]->list() || !bound[0]->list()->tuple) {
    MOXIE_TRY(const bool found, holds(*bound[0]));
    return Value(found);
  }
  for (const Value& part : bound[0]->list()->items) {
    MOXIE_TRY(const bool found, holds(part));
    if (found) return Value(true);
  }
  return Value(false);
}

template <bool from_right, bool must>
Result<Value> find_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("find", arguments, {"sub", "start", "end"}, 1));
  MOXIE_TRY(const std::string_view wanted, text_argument("find", *bound[0]));
  const Text& text = self_text(self);
  MOXIE_TRY_VOID(interpreter.charge(text.bytes.size()));
  MOXIE_TRY(const Window at, window(text, bound[1], bound[2]));
  const std::string_view part = std::string_view(text.bytes).substr(at.begin, at.end - at.begin);
  const size_t found = at.empty_range ? std::string_view::npos : from_right ? part.rfind(wanted) : part.find(wanted);
  if (found == std::string_view::npos) {
    if (must) return bad("substring not found");
    return Value(-1);
  }
  return Value(count_characters(std::string_view(text.bytes).substr(0, at.begin + found)));
}

Result<Value> count_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("count", arguments, {"sub", "start", "end"}, 1));
  MOXIE_TRY(const std::string_view wanted, text_argument("count", *bound[0]));
  const Text& text = self_text(self);
  MOXIE_TRY_VOID(interpreter.charge(text.bytes.size()));
  MOXIE_TRY(const Window at, window(text, bound[1], bound[2]));
  if (at.empty_range) return Value(0);
  const std::string_view part = std::string_view(text.bytes).substr(at.begin, at.end - at.begin);
  if (wanted.empty()) return Value(count_characters(part) + 1);
  Int count = 0;
  for (size_t i = part.find(wanted); i != std::string_view::npos; i = part.find(wanted, i + wanted.size())) ++count;
  return Value(count);
}

Result<Value> replace_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("replace", arguments, {"old", "new", "count"}, 2));
  MOXIE_TRY(const std::string_view from, text_argument("replace", *bound[0]));
  MOXIE_TRY(const std::string_view to, text_argument("replace", *bound[1]));
  int64_t most = -1;
  if (bound[2]) {
    MOXIE_TRY(most, int_argument("replace", "count", *bound[2]));
  }
  const Text& text = self_text(self);
  const std::string safe = text.markup && !bound[1]->text()->markup ? html_escaped(to) : std::string(to);
  const uint64_t times = (text.bytes.size() + 1) / std::max<size_t>(from.size(), 1);
  MOXIE_TRY_VOID(interpreter.charge(text.bytes.size()));
  uint64_t found = from.empty() ? times : 0;
  for (size_t i = from.empty() ? std::string::npos : text.bytes.find(from); i != std::string::npos;
       i = text.bytes.find(from, i + from.size())) {
    ++found;
  }
  MOXIE_TRY_VOID(interpreter.charge_made(text.bytes.size() + found * safe.size()));
  return like(self, replace(text.bytes, from, safe, most));
}

Result<Value> join_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("join", arguments, {"iterable"}, 1));
  MOXIE_TRY(const std::vector<Value> items, interpreter.items(*bound[0]));
  const Text& separator = self_text(self);
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    const Text* item = items[i].text();
    if (!item) return bad("sequence item {}: expected str instance, {} found", i, type_name(items[i]));
    const std::string part = separator.markup && !item->markup ? html_escaped(item->bytes) : item->bytes;
    MOXIE_TRY_VOID(interpreter.charge_made(part.size() + separator.bytes.size()));
    if (i > 0) text += separator.bytes;
    text += part;
  }
  return like(self, std::move(text));
}

enum class Where { left, right, middle };

template <Where where>
Result<Value> justify(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("ljust", arguments, {"width", "fillchar"}, 1));
  MOXIE_TRY(const int64_t width, int_argument("ljust", "width", *bound[0]));
  std::string fill = " ";
  if (bound[1]) {
    MOXIE_TRY(const std::string_view given, text_argument("ljust", *bound[1]));
    if (count_characters(given) != 1) return bad("The fill character must be exactly one character long");
    fill = given;
  }
  const Text& text = self_text(self);
  const auto length = static_cast<int64_t>(text.length);
  if (width <= length) return self;
  const int64_t pad = width - length;
  MOXIE_TRY_VOID(interpreter.charge_made(text.bytes.size() + static_cast<uint64_t>(pad) * fill.size()));
  // Python puts the odd one left when the width is odd.
  const int64_t left = where == Where::left ? 0 : where == Where::right ? pad : pad / 2 + (pad & width & 1);
  std::string made;
  for (int64_t i = 0; i < left; ++i) made += fill;
  made += text.bytes;
  for (int64_t i = left; i < pad; ++i) made += fill;
  return like(self, std::move(made));
}

Result<Value> zero_fill(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("zfill", arguments, {"width"}, 1));
  MOXIE_TRY(const int64_t width, int_argument("zfill", "width", *bound[0]));
  const Text& text = self_text(self);
  if (width <= static_cast<int64_t>(text.length)) return self;
  const auto pad = static_cast<uint64_t>(width) - text.length;
  MOXIE_TRY_VOID(interpreter.charge_made(text.bytes.size() + pad));
  const bool sign = text.bytes.starts_with('-') || text.bytes.starts_with('+');
  return like(self, text.bytes.substr(0, sign ? 1 : 0) + std::string(pad, '0') + text.bytes.substr(sign ? 1 : 0));
}

template <bool prefix>
Result<Value> remove_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("removeprefix", arguments, {"prefix"}, 1));
  MOXIE_TRY(const std::string_view part, text_argument("removeprefix", *bound[0]));
  std::string_view text = self_text(self).bytes;
  MOXIE_TRY_VOID(interpreter.charge_made(text.size()));
  if (prefix && text.starts_with(part)) text.remove_prefix(part.size());
  if (!prefix && text.ends_with(part)) text.remove_suffix(part.size());
  return like(self, std::string(text));
}

Result<Value> expand_tabs(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("expandtabs", arguments, {"tabsize"}));
  int64_t size = 8;
  if (bound[0]) {
    MOXIE_TRY(size, int_argument("expandtabs", "tabsize", *bound[0]));
  }
  std::string made;
  int64_t column = 0;
  for (const std::string_view c : characters(self_text(self).bytes)) {
    if (c == "\t") {
      const int64_t pad = size > 0 ? size - column % size : 0;
      MOXIE_TRY_VOID(interpreter.charge_made(static_cast<uint64_t>(pad)));
      made.append(static_cast<size_t>(pad), ' ');
      column += pad;
    } else {
      made += c;
      column = c == "\n" || c == "\r" ? 0 : column + 1;
    }
  }
  return like(self, std::move(made));
}

// All characters are so, and there is one.
using Property = bool (*)(uint32_t);
template <Property property>
Result<Value> all_are(Interpreter& interpreter, const Value& self, const Arguments&) {
  const std::string_view text = self_text(self).bytes;
  MOXIE_TRY_VOID(interpreter.charge(text.size()));
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    if (!property(c.code)) return Value(false);
    at += c.bytes;
  }
  return Value(!text.empty());
}

bool is_alphanumeric(uint32_t code) {
  return is_alphabetic(code) || is_numeric(code);
}

// islower() and isupper(): at least one letter with a case, and none of the other.
template <Property wanted, Property other>
Result<Value> case_is(Interpreter& interpreter, const Value& self, const Arguments&) {
  const std::string_view text = self_text(self).bytes;
  MOXIE_TRY_VOID(interpreter.charge(text.size()));
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    if (other(c.code)) return Value(false);
    any |= wanted(c.code);
    at += c.bytes;
  }
  return Value(any);
}

Result<Value> is_title(Interpreter& interpreter, const Value& self, const Arguments&) {
  const std::string_view text = self_text(self).bytes;
  MOXIE_TRY_VOID(interpreter.charge(text.size()));
  bool any = false, within = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    at += c.bytes;
    if ((is_upper(c.code) && within) || (is_lower(c.code) && !within)) return Value(false);
    within = is_upper(c.code) || is_lower(c.code);
    any |= within;
  }
  return Value(any);
}

Result<Value> is_ascii_method(Interpreter&, const Value& self, const Arguments&) {
  return Value(self_text(self).ascii);
}

Result<Value> is_printable_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  if (self_text(self).bytes.empty()) return Value(true);
  return all_are<is_printable>(interpreter, self, arguments);
}

Result<Value> is_identifier(Interpreter&, const Value& self, const Arguments&) {
  const std::string_view text = self_text(self).bytes;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    if (c.code != '_' && !is_alphabetic(c.code) && !(at > 0 && is_numeric(c.code))) return Value(false);
    at += c.bytes;
  }
  return Value(!text.empty());
}

Result<Value> format_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  return brace_format(interpreter, self_text(self), arguments);
}

Result<Value> format_map_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  MOXIE_TRY(const auto bound, bind("format_map", arguments, {"mapping"}, 1));
  if (!bound[0]->dict()) return bad("format_map() wants a mapping, not {}", type_name(*bound[0]));
  Arguments named;
  for (const auto& [key, value] : bound[0]->dict()->entries) {
    if (key.text()) named.named.emplace_back(key.text()->bytes, value);
  }
  return brace_format(interpreter, self_text(self), named);
}

constexpr MethodEntry kTextMethods[] = {
    {"capitalize", change_self<capitalize>},
    {"casefold", change_self<fold_case>},
    {"center", justify<Where::middle>},
    {"count", count_method},
    {"endswith", affix<false>},
    {"expandtabs", expand_tabs},
    {"find", find_method<false, false>},
    {"format", format_method},
    {"format_map", format_map_method},
    {"index", find_method<false, true>},
    {"isalnum", all_are<is_alphanumeric>},
    {"isalpha", all_are<is_alphabetic>},
    {"isascii", is_ascii_method},
    {"isdecimal", all_are<is_decimal>},
    {"isdigit", all_are<is_digit>},
    {"isidentifier", is_identifier},
    {"islower", case_is<is_lower, is_upper>},
    {"isnumeric", all_are<is_numeric>},
    {"isprintable", is_printable_method},
    {"isspace", all_are<is_space>},
    {"istitle", is_title},
    {"isupper", case_is<is_upper, is_lower>},
    {"join", join_method},
    {"ljust", justify<Where::left>},
    {"lower", change_self<lower>},
    {"lstrip", strip_method<Side::left>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace_method},
    {"rfind", find_method<true, false>},
    {"rindex", find_method<true, true>},
    {"rjust", justify<Where::right>},
    {"rpartition", partition<true>},
    {"rsplit", split_method<true>},
    {"rstrip", strip_method<Side::right>},
    {"split", split_method<false>},
    {"splitlines", split_lines_method},
    {"startswith", affix<true>},
    {"strip", strip_method<Side::both>},
    {"swapcase", change_self<swap_case>},
    {"title", change_self<title>},
    {"upper", change_self<upper>},
    {"zfill", zero_fill},
};

}  // namespace

const MethodEntry* find_text_method(std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(kTextMethods), std::end(kTextMethods), name,
                       [](const MethodEntry& entry, std::string_view wanted) { return entry.name < wanted; });
  return found != std::end(kTextMethods) && found->name == name ? found : nullptr;
}

}  // namespace moxie::jinja

// json.dumps() of Python.
#include <algorithm>
#include <cmath>

#include "chat/jinja/interpreter.h"
#include "text/utf8.h"

namespace moxie::jinja {
namespace {

std::string quoted_json(std::string_view text, bool ascii) {
  std::string to = "\"";
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    const std::string_view bytes = text.substr(at, c.bytes);
    at += c.bytes;
    constexpr std::string_view kPlain = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
    if (const size_t found = c.code < 0x80 ? kPlain.find(static_cast<char>(c.code)) : std::string_view::npos;
        found != std::string_view::npos) {
      to += '\\';
      to += kLetters[found];
    } else if (c.code < 0x20 || (ascii && c.code > 0x7E && c.code < 0x10000)) {
      to += fmt::format("\\u{:04x}", c.code);
    } else if (ascii && c.code >= 0x10000) {
      to += fmt::format("\\u{:04x}\\u{:04x}", 0xD7C0 + (c.code >> 10), 0xDC00 + (c.code & 0x3FF));
    } else {
      to += bytes;
    }
  }
  return to + '"';
}

std::string number_json(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return float_repr(number);
}

class Writer {
 public:
  explicit Writer(const JsonStyle& style) : style_(style) {}

  Result<void> write(const Value& value) {
    if (value.is_none()) return put("null");
    if (value.boolean()) return put(*value.boolean() ? "true" : "false");
    if (value.integer()) return put(int_text(*value.integer()));
    if (value.real()) return put(number_json(*value.real()));
    if (value.text()) return put(quoted_json(value.text()->bytes, style_.ascii));
    if (value.list()) return write_list(*value.list());
    if (value.dict()) return write_dict(*value.dict());
    return bad("Object of type {} is not JSON serializable{}", type_name(value),
               value.is_undefined() ? fmt::format(" ({})", value.undefined_message()) : "");
  }

  std::string take() { return std::move(text_); }

 private:
  Result<void> put(std::string_view text) {
    text_ += text;
    return {};
  }

  void new_line() {
    if (!style_.indent) return;
    text_ += '\n';
    for (int i = 0; i < level_; ++i) text_ += *style_.indent;
  }

  Result<void> write_list(const List& list) {
    if (list.items.empty()) return put("[]");
    text_ += '[';
    ++level_;
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) text_ += style_.item_separator;
      new_line();
      MOXIE_TRY_VOID(write(list.items[i]));
    }
    --level_;
    new_line();
    return put("]");
  }

  static Result<std::string> key_text(const Value& key) {
    if (key.text()) return key.text()->bytes;
    if (key.is_none()) return std::string("null");
    if (key.boolean()) return std::string(*key.boolean() ? "true" : "false");
    if (key.integer()) return int_text(*key.integer());
    if (key.real()) return number_json(*key.real());
    return bad("keys must be str, int, float, bool or None, not {}", type_name(key));
  }

  Result<void> write_dict(const Dict& dict) {
    if (dict.entries.empty()) return put("{}");
    std::vector<const Entry*> entries;
    for (const Entry& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) MOXIE_TRY_VOID(sort(entries));
    text_ += '{';
    ++level_;
    bool first = true;
    for (const Entry* entry : entries) {
      if (!std::exchange(first, false)) text_ += style_.item_separator;
      new_line();
      MOXIE_TRY(const std::string key, key_text(entry->first));
      text_ += quoted_json(key, style_.ascii);
      text_ += style_.key_separator;
      MOXIE_TRY_VOID(write(entry->second));
    }
    --level_;
    new_line();
    return put("}");
  }

  static Result<void> sort(std::vector<const Entry*>& entries) {
    const bool texts = std::all_of(entries.begin(), entries.end(), [](const Entry* e) { return e->first.text(); });
    const bool numbers =
        std::all_of(entries.begin(), entries.end(), [](const Entry* e) { return e->first.is_number(); });
    if (!texts && !numbers) return bad("keys of several types cannot be sorted");
    std::stable_sort(entries.begin(), entries.end(), [](const Entry* a, const Entry* b) {
      const auto smaller = less(a->first, b->first);
      return smaller.ok() && *smaller;
    });
    return {};
  }

  const JsonStyle& style_;
  std::string text_;
  int level_ = 0;
};

}  // namespace

Result<std::string> json_text(const Value& value, const JsonStyle& style) {
  Writer writer(style);
  MOXIE_TRY_VOID(writer.write(value));
  return writer.take();
}

}  // namespace moxie::jinja

#include "text/unicode_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "text/utf8.h"

namespace moxie {
namespace {

utf8proc_option_t options_of(UnicodeForm form) {
  switch (form) {
    case UnicodeForm::nfc:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    case UnicodeForm::nfkc:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    case UnicodeForm::nfkd:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
    default:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  }
}

// REQUIRES: text is valid UTF-8.
void append_normalized(UnicodeForm form, std::string_view text, std::string& out) {
  if (text.empty()) return;
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                              static_cast<utf8proc_ssize_t>(text.size()), &mapped, options_of(form));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (bytes < 0) {
    out += text;
  } else {
    out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(bytes));
  }
}

std::string normalize(UnicodeForm form, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char character = utf8_at(text, at);
    if (!character.valid) {
      append_normalized(form, text.substr(begin, at - begin), out);
      out += text[at];
      begin = at + 1;
    }
    at += character.bytes;
  }
  append_normalized(form, text.substr(begin), out);
  return out;
}

// Character by character, without regard to neighbours.
std::string map_characters(UnicodeForm form, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Char character = utf8_at(text, at);
    const auto code = static_cast<utf8proc_int32_t>(character.code);
    if (!character.valid) {
      out += text[at];
    } else if (form == UnicodeForm::lowercase) {
      if (code == 0x130) {
        out += "i\u0307";  // the one capital whose small form is two characters
      } else {
        append_utf8(out, static_cast<uint32_t>(utf8proc_tolower(code)));
      }
    } else if (utf8proc_category(code) != UTF8PROC_CATEGORY_MN) {
      out += text.substr(at, character.bytes);
    }
    at += character.bytes;
  }
  return out;
}

}  // namespace

std::string apply_form(UnicodeForm form, std::string_view text) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  const bool changes_ascii = form == UnicodeForm::lowercase;
  if (!changes_ascii && std::all_of(text.begin(), text.end(), is_ascii)) return std::string(text);
  return form == UnicodeForm::lowercase || form == UnicodeForm::strip_accents ? map_characters(form, text)
                                                                              : normalize(form, text);
}

}  // namespace moxie

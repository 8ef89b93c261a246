#include "chat/jinja/python_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "text/utf8.h"

namespace moxie::jinja {
namespace {

struct SpecialCase {
  uint32_t code;
  std::string_view upper, title;
};

constexpr SpecialCase kSpecialCases[] = {
#define MOXIE_CASE(code, upper, title) {code, upper, title},
#include "chat/jinja/special_casing.inc"
#undef MOXIE_CASE
};

const SpecialCase* special_case(uint32_t code) {
  const auto* found = std::lower_bound(std::begin(kSpecialCases), std::end(kSpecialCases), code,
                                       [](const SpecialCase& entry, uint32_t wanted) { return entry.code < wanted; });
  return found != std::end(kSpecialCases) && found->code == code ? found : nullptr;
}

int category(uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

void append_upper(std::string& to, uint32_t code) {
  if (const SpecialCase* special = special_case(code)) {
    to += special->upper;
  } else {
    append_utf8(to, static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
  }
}

void append_title(std::string& to, uint32_t code) {
  if (const SpecialCase* special = special_case(code)) {
    to += special->title;
  } else {
    append_utf8(to, static_cast<uint32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
  }
}

constexpr uint32_t kSigma = 0x3A3, kFinalSigma = 0x3C2, kSmallSigma = 0x3C3;

bool is_case_ignorable(uint32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return code == '\'' || code == '.' || code == ':' || code == 0xB7 || code == 0x2019;
  }
}

bool is_cased(uint32_t code) {
  return is_upper(code) || is_lower(code) || category(code) == UTF8PROC_CATEGORY_LT;
}

// A sigma is final after a cased letter that no cased letter follows.
bool is_final_sigma(std::string_view text, size_t at, size_t after) {
  bool before = false;
  for (size_t end = at; end > 0;) {
    const Utf8Char c = utf8_before(text, end);
    end -= c.bytes;
    if (is_case_ignorable(c.code)) continue;
    before = is_cased(c.code);
    break;
  }
  if (!before) return false;
  for (size_t next = after; next < text.size();) {
    const Utf8Char c = utf8_at(text, next);
    next += c.bytes;
    if (is_case_ignorable(c.code)) continue;
    return !is_cased(c.code);
  }
  return true;
}

void append_lower(std::string& to, std::string_view text, size_t at, const Utf8Char& c) {
  if (c.code == 0x130) {  // capital I with a dot: i and a combining dot
    to += "i\xCC\x87";
  } else if (c.code == kSigma) {
    append_utf8(to, is_final_sigma(text, at, at + c.bytes) ? kFinalSigma : kSmallSigma);
  } else {
    append_utf8(to, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code))));
  }
}

template <typename Each>
void each_character(std::string_view text, Each each) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    each(at, c);
    at += c.bytes;
  }
}

}  // namespace

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

size_t byte_of(std::string_view text, size_t index, bool ascii) {
  if (ascii) return std::min(index, text.size());
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += utf8_length(text, at);
  return at;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> all;
  each_character(text, [&](size_t at, const Utf8Char& c) { all.push_back(text.substr(at, c.bytes)); });
  return all;
}

std::string upper(std::string_view text) {
  std::string to;
  to.reserve(text.size());
  each_character(text, [&](size_t, const Utf8Char& c) { append_upper(to, c.code); });
  return to;
}

std::string lower(std::string_view text) {
  std::string to;
  to.reserve(text.size());
  each_character(text, [&](size_t at, const Utf8Char& c) { append_lower(to, text, at, c); });
  return to;
}

std::string capitalize(std::string_view text) {
  std::string to;
  each_character(text, [&](size_t at, const Utf8Char& c) {
    if (at == 0) {
      append_title(to, c.code);
    } else {
      append_lower(to, text, at, c);
    }
  });
  return to;
}

std::string title(std::string_view text) {
  std::string to;
  bool within = false;
  each_character(text, [&](size_t at, const Utf8Char& c) {
    if (within) {
      append_lower(to, text, at, c);
    } else {
      append_title(to, c.code);
    }
    within = is_cased(c.code);
  });
  return to;
}

std::string swap_case(std::string_view text) {
  std::string to;
  each_character(text, [&](size_t at, const Utf8Char& c) {
    if (is_upper(c.code)) {
      append_lower(to, text, at, c);
    } else if (is_lower(c.code)) {
      append_upper(to, c.code);
    } else {
      append_utf8(to, c.code);
    }
  });
  return to;
}

std::string fold_case(std::string_view text) {
  utf8proc_uint8_t* folded = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &folded, UTF8PROC_CASEFOLD);
  if (size < 0) return std::string(text);
  std::string to(reinterpret_cast<const char*>(folded), static_cast<size_t>(size));
  std::free(folded);
  return to;
}

bool is_space(uint32_t code) {
  return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
}

bool is_alphabetic(uint32_t code) {
  const int found = category(code);
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}

bool is_upper(uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LU || (code >= 0x2160 && code <= 0x216F) ||
         (code >= 0x24B6 && code <= 0x24CF);
}

bool is_lower(uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LL || code == 0xAA || code == 0xBA || (code >= 0x2170 && code <= 0x217F) ||
         (code >= 0x24D0 && code <= 0x24E9);
}

bool is_decimal(uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_ND;
}

bool is_digit(uint32_t code) {
  return is_decimal(code) || code == 0xB2 || code == 0xB3 || code == 0xB9 || code == 0x2070 ||
         (code >= 0x2074 && code <= 0x2079) || (code >= 0x2080 && code <= 0x2089) ||
         (code >= 0x2460 && code <= 0x2468) || (code >= 0x2474 && code <= 0x247C) ||
         (code >= 0x2488 && code <= 0x2490) || code == 0x24EA || (code >= 0x24F5 && code <= 0x24FD) || code == 0x24FF ||
         (code >= 0x2776 && code <= 0x277E);
}

bool is_numeric(uint32_t code) {
  const int found = category(code);
  return found == UTF8PROC_CATEGORY_ND || found == UTF8PROC_CATEGORY_NL || found == UTF8PROC_CATEGORY_NO;
}

bool is_printable(uint32_t code) {
  if (code == ' ') return true;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string_view strip(std::string_view text, std::optional<std::string_view> set, Side side) {
  const auto goes = [&](size_t at, const Utf8Char& c) {
    return set ? set->find(text.substr(at, c.bytes)) != std::string_view::npos : is_space(c.code);
  };
  size_t begin = 0, end = text.size();
  while (side != Side::right && begin < end) {
    const Utf8Char c = utf8_at(text, begin);
    if (!goes(begin, c)) break;
    begin += c.bytes;
  }
  while (side != Side::left && end > begin) {
    const Utf8Char c = utf8_before(text, end);
    if (!goes(end - c.bytes, c)) break;
    end -= c.bytes;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator, int64_t most) {
  std::vector<std::string> parts;
  if (separator) {
    size_t at = 0;
    for (; most != 0; --most) {
      const size_t found = text.find(*separator, at);
      if (found == std::string_view::npos) break;
      parts.emplace_back(text.substr(at, found - at));
      at = found + separator->size();
    }
    parts.emplace_back(text.substr(at));
    return parts;
  }
  for (text = strip(text, {}, Side::left); !text.empty(); text = strip(text, {}, Side::left)) {
    if (most == 0) {
      parts.emplace_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const Utf8Char c = utf8_at(text, end);
      if (is_space(c.code)) break;
      end += c.bytes;
    }
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
    if (most > 0) --most;
  }
  return parts;
}

std::vector<std::string> split_right(std::string_view text, std::optional<std::string_view> separator, int64_t most) {
  std::vector<std::string> parts;
  if (separator) {
    for (; most != 0; --most) {
      const size_t found = text.size() < separator->size() ? std::string_view::npos : text.rfind(*separator);
      if (found == std::string_view::npos) break;
      parts.emplace_back(text.substr(found + separator->size()));
      text = text.substr(0, found);
    }
    parts.emplace_back(text);
  } else {
    for (text = strip(text, {}, Side::right); !text.empty(); text = strip(text, {}, Side::right)) {
      if (most == 0) {
        parts.emplace_back(text);
        break;
      }
      size_t begin = text.size();
      while (begin > 0) {
        const Utf8Char c = utf8_before(text, begin);
        if (is_space(c.code)) break;
        begin -= c.bytes;
      }
      parts.emplace_back(text.substr(begin));
      text = text.substr(0, begin);
      if (most > 0) --most;
    }
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = utf8_at(text, at);
    const size_t end = at;
    at += c.bytes;
    const bool breaks = (c.code >= 0x0A && c.code <= 0x0D) || (c.code >= 0x1C && c.code <= 0x1E) || c.code == 0x85 ||
                        c.code == 0x2028 || c.code == 0x2029;
    if (!breaks) continue;
    if (c.code == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t most) {
  std::string result;
  size_t at = 0;
  if (from.empty()) {  // between all characters, and at both ends
    for (; most != 0 && at < text.size(); --most) {
      const size_t length = utf8_length(text, at);
      result += to;
      result += text.substr(at, length);
      at += length;
    }
    result += text.substr(at);
    if (most != 0) result += to;
    return result;
  }
  for (; most != 0; --most) {
    const size_t found = text.find(from, at);
    if (found == std::string_view::npos) break;
    result += text.substr(at, found - at);
    result += to;
    at = found + from.size();
  }
  result += text.substr(at);
  return result;
}

std::string in_quotes(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string to(1, quote);
  each_character(text, [&](size_t at, const Utf8Char& c) {
    if (c.code == static_cast<unsigned char>(quote) || c.code == '\\') {
      to += '\\';
      to += static_cast<char>(c.code);
    } else if (c.code == '\n') {
      to += "\\n";
    } else if (c.code == '\r') {
      to += "\\r";
    } else if (c.code == '\t') {
      to += "\\t";
    } else if (is_printable(c.code)) {
      to += text.substr(at, c.bytes);
    } else {
      constexpr std::string_view kDigits = "0123456789abcdef";
      const int width = c.code < 0x100 ? 2 : c.code < 0x10000 ? 4 : 8;
      to += width == 2 ? "\\x" : width == 4 ? "\\u" : "\\U";
      for (int i = width - 1; i >= 0; --i) to += kDigits[(c.code >> (4 * i)) & 15];
    }
  });
  to += quote;
  return to;
}

std::string html_escaped(std::string_view text) {
  std::string to;
  for (const char c : text) {
    switch (c) {
      case '&':
        to += "&amp;";
        break;
      case '<':
        to += "&lt;";
        break;
      case '>':
        to += "&gt;";
        break;
      case '"':
        to += "&#34;";
        break;
      case '\'':
        to += "&#39;";
        break;
      default:
        to += c;
    }
  }
  return to;
}

}  // namespace moxie::jinja

#include "chat/jinja/lexer.h"

#include <algorithm>
#include <cstdlib>

#include "chat/jinja/python_text.h"
#include "core/fail.h"
#include "core/printable.h"
#include "text/detokenizer.h"
#include "text/utf8.h"

namespace moxie::jinja {

Error error_at(int line, std::string_view message, ErrorCode code) {
  return fail(code, "chat template, line {}: {}", line, message);
}

namespace {

// "\r\n" and "\r" become "\n"; a last newline goes.
std::string normal_lines(std::string_view source) {
  std::string to;
  to.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      to += source[i];
    } else {
      to += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  return to;
}

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : storage_(normal_lines(to_valid_utf8(source))), source_(storage_) {
    if (source_.ends_with('\n')) source_.remove_suffix(1);
  }

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) MOXIE_TRY_VOID(read_root());
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  enum class Sign { none, minus, plus };

  Error error(std::string_view message) const { return error_at(line_, message); }
  bool looking_at(std::string_view wanted) const { return source_.substr(at_).starts_with(wanted); }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text), {}}); }

  void advance(size_t bytes) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + bytes), '\n'));
    if (bytes > 0) line_starting_ = source_[at_ + bytes - 1] == '\n';
    at_ += bytes;
  }

  size_t spaces_from(size_t at) const {
    size_t end = at;
    while (end < source_.size()) {
      const Utf8Char c = utf8_at(source_, end);
      if (!is_space(c.code)) break;
      end += c.bytes;
    }
    return end - at;
  }

  static Sign sign_of(std::string_view text) {
    return text.starts_with('-') ? Sign::minus : text.starts_with('+') ? Sign::plus : Sign::none;
  }

  // Data before a tag, stripped as the tag's sign and lstrip_blocks have it. `end`: where the tag begins.
  void add_data(size_t end, Sign sign, bool variable) {
    std::string_view text = source_.substr(at_, end - at_);
    if (sign == Sign::minus) {
      text = strip(text, {}, Side::right);
    } else if (sign == Sign::none && !variable) {
      const size_t newline = text.rfind('\n');
      const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
      const std::string_view tail = text.substr(line_begin);
      if ((line_begin > 0 || line_starting_) && strip(tail, {}, Side::left).empty()) text = text.substr(0, line_begin);
    }
    if (!text.empty()) add(TokenKind::data, std::string(text));
    advance(end - at_);
  }

  // The length of "raw %}" after "{%" and its sign; 0 when it is no raw block.
  size_t raw_begin(size_t at) const {
    size_t end = at + spaces_from(at);
    if (!source_.substr(end).starts_with("raw")) return 0;
    end += 3;
    end += spaces_from(end);
    if (source_.substr(end).starts_with("-%}")) return end + 3 + spaces_from(end + 3) - at;
    return source_.substr(end).starts_with("%}") ? end + 2 - at : 0;
  }

  Result<void> read_root() {
    size_t begin = at_;
    for (;; ++begin) {
      begin = source_.find('{', begin);
      if (begin == std::string_view::npos || begin + 1 >= source_.size()) {
        add(TokenKind::data, std::string(source_.substr(at_)));
        advance(source_.size() - at_);
        return {};
      }
      const char next = source_[begin + 1];
      if (next == '{' || next == '%' || next == '#') break;
    }
    const char kind = source_[begin + 1];
    const Sign sign = sign_of(source_.substr(begin + 2));
    const size_t opened = begin + (sign == Sign::none ? 2 : 3);
    if (kind == '%') {
      if (const size_t raw = raw_begin(opened); raw > 0) {
        add_data(begin, sign, false);
        advance(opened + raw - at_);
        return read_raw();
      }
    }
    add_data(begin, sign, kind == '{');
    if (kind == '#') {
      advance(opened - at_);
      return read_comment();
    }
    add(kind == '{' ? TokenKind::variable_begin : TokenKind::block_begin, "");
    advance(opened - at_);
    return read_tag(kind == '{');
  }

  // The length of an end of a block or comment at `at` ("+%}", "-%}  ", "%}\n"); 0: it is none.
  size_t end_length(size_t at, std::string_view end) const {
    const std::string_view rest = source_.substr(at);
    if (rest.starts_with('+') && rest.substr(1).starts_with(end)) return 1 + end.size();
    if (rest.starts_with('-') && rest.substr(1).starts_with(end)) {
      return 1 + end.size() + spaces_from(at + 1 + end.size());
    }
    if (!rest.starts_with(end)) return 0;
    return end.size() + (rest.substr(end.size()).starts_with('\n') ? 1 : 0);
  }

  Result<void> read_comment() {
    if (at_ == source_.size()) return {};  // opened at the very end: Jinja2 lets it pass
    size_t end = source_.find("#}", at_);
    if (end == std::string_view::npos) return error("a comment is not closed; add '#}'");
    if (end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+')) --end;
    advance(end + end_length(end, "#}") - at_);
    return {};
  }

  Result<void> read_raw() {
    for (size_t begin = source_.find("{%", at_); begin != std::string_view::npos;
         begin = source_.find("{%", begin + 1)) {
      const Sign sign = sign_of(source_.substr(begin + 2));
      size_t end = begin + (sign == Sign::none ? 2 : 3);
      end += spaces_from(end);
      if (!source_.substr(end).starts_with("endraw")) continue;
      end += 6;
      end += spaces_from(end);
      const size_t closed = end_length(end, "%}");
      if (closed == 0) continue;
      add_data(begin, sign, false);
      advance(end + closed - at_);
      return {};
    }
    if (at_ == source_.size()) return {};
    return error("a raw block is not closed; add '{% endraw %}'");
  }

  Result<void> read_tag(bool variable) {
    std::string open;  // brackets that wait for their partners
    while (at_ < source_.size()) {
      if (open.empty()) {
        size_t closed = 0;
        if (!variable) {
          closed = end_length(at_, "%}");
        } else if (looking_at("-}}")) {
          closed = 3 + spaces_from(at_ + 3);
        } else if (looking_at("}}")) {
          closed = 2;
        }
        if (closed > 0) {
          add(variable ? TokenKind::variable_end : TokenKind::block_end, "");
          advance(closed);
          return {};
        }
      }
      if (const size_t spaces = spaces_from(at_); spaces > 0) {
        advance(spaces);
        continue;
      }
      MOXIE_TRY_VOID(read_token(open));
    }
    return {};
  }

  Result<void> read_token(std::string& open) {
    const char c = source_[at_];
    if (is_ascii_digit(c)) return read_number();
    const Utf8Char wide = utf8_at(source_, at_);
    if (c == '_' || is_alphabetic(wide.code)) return read_name();
    if (c == '\'' || c == '"') return read_text(c);
    return read_operator(open);
  }

  Result<void> read_name() {
    size_t end = at_;
    while (end < source_.size()) {
      const Utf8Char c = utf8_at(source_, end);
      if (c.code != '_' && !is_alphabetic(c.code) && !is_numeric(c.code)) break;
      end += c.bytes;
    }
    add(TokenKind::name, std::string(source_.substr(at_, end - at_)));
    advance(end - at_);
    return {};
  }

  // The end of digits with single underscores between them.
  template <typename IsDigit>
  size_t digits_end(size_t at, IsDigit is_digit_of) const {
    while (at < source_.size() && is_digit_of(source_[at])) {
      ++at;
      if (at + 1 < source_.size() && source_[at] == '_' && is_digit_of(source_[at + 1])) ++at;
    }
    return at;
  }

  static std::string without_underscores(std::string_view text) {
    std::string to(text);
    to.erase(std::remove(to.begin(), to.end(), '_'), to.end());
    return to;
  }

  Result<void> read_number() {
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      const char letter = static_cast<char>(source_[at_ + 1] | 0x20);
      const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
      if (base != 0) {
        const size_t end = digits_end(at_ + 2, [base](char c) { return digit_value(c) < base; });
        if (end > at_ + 2) return add_integer(at_ + 2, end, base);
      }
    }
    size_t end = digits_end(at_, is_ascii_digit);
    bool real = false;
    // After a dot, digits are an index: x.0.1
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    if (!after_dot) {
      if (end + 1 < source_.size() && source_[end] == '.' && is_ascii_digit(source_[end + 1])) {
        end = digits_end(end + 1, is_ascii_digit);
        real = true;
      }
      if (end + 1 < source_.size() && (source_[end] | 0x20) == 'e') {
        const size_t digits = end + (source_[end + 1] == '+' || source_[end + 1] == '-' ? 2 : 1);
        if (digits < source_.size() && is_ascii_digit(source_[digits])) {
          end = digits_end(digits, is_ascii_digit);
          real = true;
        }
      }
    }
    if (!real) return add_integer(at_, end, 10);
    tokens_.push_back({TokenKind::real, line_, "",
                       std::strtod(without_underscores(source_.substr(at_, end - at_)).c_str(), nullptr)});
    advance(end - at_);
    return {};
  }

  static int digit_value(char c) {
    if (is_ascii_digit(c)) return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
  }

  Result<void> add_integer(size_t begin, size_t end, int base) {
    Int number = 0;
    for (const char c : without_underscores(source_.substr(begin, end - begin))) {
      if (__builtin_mul_overflow(number, Int{base}, &number) ||
          __builtin_add_overflow(number, Int{digit_value(c)}, &number)) {
        return error("a whole number has more than 127 bits; write it as text or with a decimal point");
      }
    }
    tokens_.push_back({TokenKind::integer, line_, "", number});
    advance(end - at_);
    return {};
  }

  Result<void> read_text(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return error("a text is not closed; add the quotation mark that opened it");
    MOXIE_TRY(std::string text, unescape(source_.substr(at_ + 1, end - at_ - 1)));
    add(TokenKind::text, std::move(text));
    advance(end + 1 - at_);
    return {};
  }

  Result<std::string> unescape(std::string_view text) const {
    std::string to;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        to += text[i];
        continue;
      }
      const char c = text[++i];  // there is one: a backslash never stands before the closing mark
      constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeanings = "\a\b\f\n\r\t\v\\'\"";
      if (const size_t found = kLetters.find(c); found != std::string_view::npos) {
        to += kMeanings[found];
      } else if (c >= '0' && c <= '7') {
        uint32_t code = 0;
        size_t digits = 0;
        for (; digits < 3 && i + digits < text.size() && text[i + digits] >= '0' && text[i + digits] <= '7'; ++digits) {
          code = code * 8 + static_cast<uint32_t>(text[i + digits] - '0');
        }
        append_utf8(to, code);
        i += digits - 1;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        uint32_t code = 0;
        for (size_t k = 1; k <= digits; ++k) {
          const int digit = i + k < text.size() ? digit_value(text[i + k]) : 99;
          if (digit > 15) return error(fmt::format("the escape \\{} wants {} hexadecimal digits", c, digits));
          code = code * 16 + static_cast<uint32_t>(digit);
        }
        if (code > 0x10FFFF) return error("an escape names a character beyond U+10FFFF");
        append_utf8(to, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
        i += digits;
      } else if (c == 'N') {
        return error("characters by name (\\N{...}) are not known; write the character itself or \\uXXXX");
      } else if (c != '\n') {  // an escaped end of line is nothing
        to += '\\';
        to += c;
      }
    }
    return to;
  }

  Result<void> read_operator(std::string& open) {
    const std::string_view two = source_.substr(at_, 2);
    for (const std::string_view wanted : {"//", "**", "==", "!=", ">=", "<="}) {
      if (two == wanted) {
        add(TokenKind::op, std::string(two));
        advance(2);
        return {};
      }
    }
    const char c = source_[at_];
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      return error(fmt::format("unexpected character '{}'", printable(source_.substr(at_, utf8_length(source_, at_)))));
    }
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) return error(fmt::format("'{}' closes nothing", c));
      if (open.back() != c) return error(fmt::format("'{}' stands where '{}' is expected", c, open.back()));
      open.pop_back();
    }
    add(TokenKind::op, std::string(1, c));
    advance(1);
    return {};
  }

  std::string storage_;
  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace moxie::jinja

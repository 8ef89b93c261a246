#include "grammar/gbnf.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/fail.h"

namespace moxie::grammar {
namespace {

constexpr size_t kBytesMax = size_t{4} << 20;
constexpr int kDepthMax = 200;
constexpr int kStackedMax = 4;
constexpr uint32_t kRepeatMax = 10'000'000;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

class GbnfParser {
 public:
  GbnfParser(std::string_view text, const FindToken& find_token) : text_(text), find_token_(find_token) {}

  Result<Grammar> parse() {
    if (text_.size() > kBytesMax) {
      return fail(ErrorCode::unsupported, "the grammar has {} bytes; at most {} are read", text_.size(), kBytesMax);
    }
    skip_blanks(true);
    while (!at_end()) {
      MOXIE_TRY_VOID(rule());
      skip_blanks(true);
    }
    for (RuleId id = 0; id < grammar_.rules.size(); ++id) {
      if (grammar_.rules[id].body != kNothing) continue;
      return error_at(first_uses_[id], "rule '{}' is not defined; add a line \"{} ::= ...\"", grammar_.rules[id].name,
                      grammar_.rules[id].name);
    }
    const auto root = ids_.find("root");
    if (root == ids_.end()) {
      return fail(ErrorCode::invalid_argument,
                  "the grammar has no rule 'root', which says what the whole text is; add \"root ::= ...\"");
    }
    grammar_.root = root->second;
    return std::move(grammar_);
  }

 private:
  bool at_end() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  template <typename... Args>
  Error error_at(size_t position, fmt::format_string<Args...> format, Args&&... args) const {
    const std::string_view before = text_.substr(0, position);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
    return fail(ErrorCode::invalid_argument, "grammar, line {}, column {}: {}", line, position - line_start + 1,
                fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  Error error(fmt::format_string<Args...> format, Args&&... args) const {
    return error_at(at_, format, std::forward<Args>(args)...);
  }
  std::string shown() const {
    if (at_end()) return "the end";
    const unsigned char c = static_cast<unsigned char>(text_[at_]);
    return c >= 0x20 && c < 0x7F ? fmt::format("'{}'", text_[at_]) : fmt::format("the byte {:#04x}", c);
  }

  void skip_blanks(bool newlines) {
    for (; !at_end(); ++at_) {
      const char c = peek();
      if (c == '#') {
        while (!at_end() && peek() != '\n' && peek() != '\r') ++at_;
        if (at_end()) return;
      }
      if (peek() == ' ' || peek() == '\t') continue;
      if (newlines && (peek() == '\n' || peek() == '\r')) continue;
      return;
    }
  }
  // A '|' may begin the next line.
  void skip_to_bar() {
    const size_t here = at_;
    skip_blanks(true);
    if (peek() != '|') at_ = here;
  }

  std::string name() {
    const size_t begin = at_;
    while (is_word(peek())) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  RuleId rule_id(const std::string& name, size_t position) {
    const auto [known, is_new] = ids_.try_emplace(name, static_cast<RuleId>(grammar_.rules.size()));
    if (is_new) {
      grammar_.add_rule(name);
      first_uses_.push_back(position);
    }
    return known->second;
  }

  Result<void> rule() {
    const size_t begin = at_;
    const std::string called = name();
    if (called.empty()) return error("a rule's name is expected (letters, digits, dashes), not {}", shown());
    const RuleId id = rule_id(called, begin);
    if (grammar_.rules[id].body != kNothing) {
      return error_at(begin, "rule '{}' is defined twice; put both into one with '|'", called);
    }
    skip_blanks(false);
    if (text_.substr(at_, 3) != "::=") return error("\"::=\" is expected after '{}', not {}", called, shown());
    at_ += 3;
    skip_blanks(true);
    MOXIE_TRY(const ExpressionId body, alternatives(0));
    grammar_.rules[id].body = body;
    if (!at_end() && peek() != '\n' && peek() != '\r') {
      return error("rule '{}' goes on with {}; end the line, or quote it", called, shown());
    }
    return {};
  }

  Result<ExpressionId> alternatives(int depth) {
    if (depth > kDepthMax) {
      return fail(ErrorCode::unsupported,
                  "grammar: groups are nested more than {} deep; name some as rules of their own", kDepthMax);
    }
    std::vector<ExpressionId> parts;
    for (;;) {
      MOXIE_TRY(const ExpressionId part, sequence(depth));
      parts.push_back(part);
      if (depth == 0) skip_to_bar();
      if (peek() != '|') return grammar_.choice(std::move(parts));
      ++at_;
      skip_blanks(true);
    }
  }

  Result<ExpressionId> sequence(int depth) {
    std::vector<ExpressionId> parts;
    for (;;) {
      if (parts.size() > 0 && peek() == ':' && peek(1) == ':') return error("\"::=\" is not expected here");
      MOXIE_TRY(const std::optional<ExpressionId> part, element(depth));
      if (!part) return grammar_.sequence(std::move(parts));
      MOXIE_TRY(const ExpressionId repeated, repetitions(*part));
      parts.push_back(repeated);
      skip_blanks(depth > 0);
    }
  }

  // Nothing: the sequence ends here.
  Result<std::optional<ExpressionId>> element(int depth) {
    const char c = peek();
    if (c == '"') return wrap(literal());
    if (c == '[') return wrap(char_class());
    if (c == '<' || (c == '!' && peek(1) == '<')) return wrap(token());
    if (c == '.') {
      ++at_;
      return std::optional(grammar_.chars(any_char()));
    }
    if (c == '(') {
      const size_t begin = at_++;
      skip_blanks(true);
      MOXIE_TRY(const ExpressionId inner, alternatives(depth + 1));
      if (peek() != ')') return error_at(begin, "this '(' is not closed; {} comes where ')' is expected", shown());
      ++at_;
      return std::optional(inner);
    }
    if (is_word(c)) {
      const size_t begin = at_;
      const std::string called = name();
      // The next rule, where the line before it was left open by a comment or a group.
      const size_t here = at_;
      skip_blanks(false);
      const bool defines = text_.substr(at_, 3) == "::=";
      at_ = here;
      if (defines) return error_at(begin, "rule '{}' begins before the one above it is complete", called);
      return std::optional(grammar_.rule(rule_id(called, begin)));
    }
    if (c == '*' || c == '+' || c == '?' || c == '{') {
      return error("'{}' has nothing to repeat; put it after an element, or quote it", c);
    }
    if (c == ')' && depth == 0) return error("this ')' closes nothing; quote it or remove it");
    return std::optional<ExpressionId>();
  }

  static Result<std::optional<ExpressionId>> wrap(Result<ExpressionId> result) {
    if (!result.ok()) return std::move(result).error();
    return std::optional(*result);
  }

  Result<ExpressionId> repetitions(ExpressionId part) {
    for (int stacked = 0;; ++stacked) {
      const char c = peek();
      uint32_t min = 0, max = kUnbounded;
      if (c == '{') {
        MOXIE_TRY_VOID(bounds(min, max));
      } else if (c == '*' || c == '+' || c == '?') {
        min = c == '+' ? 1 : 0;
        max = c == '?' ? 1 : kUnbounded;
        ++at_;
      } else {
        return part;
      }
      if (stacked == kStackedMax) return error("more than {} repetitions of repetitions; one is enough", kStackedMax);
      part = grammar_.repeat(part, min, max);
    }
  }

  Result<void> bounds(uint32_t& min, uint32_t& max) {
    const size_t begin = at_++;
    skip_blanks(false);
    const bool has_min = is_digit(peek());
    MOXIE_TRY(min, number());
    skip_blanks(false);
    max = min;
    bool has_max = false;
    if (peek() == ',') {
      ++at_;
      skip_blanks(false);
      max = kUnbounded;
      has_max = is_digit(peek());
      if (has_max) {
        MOXIE_TRY(max, number());
      }
      skip_blanks(false);
    }
    if (peek() != '}' || (!has_min && !has_max)) {
      return error_at(begin, "a repetition is written {{3}}, {{2,}} or {{2,5}}; {} comes instead", shown());
    }
    ++at_;
    if (min > max) return error_at(begin, "a repetition of {} to {} is empty; swap the two", min, max);
    return {};
  }

  Result<uint32_t> number() {
    uint64_t value = 0;
    for (; is_digit(peek()); ++at_) {
      value = value * 10 + static_cast<uint64_t>(peek() - '0');
      if (value > kRepeatMax) {
        return error("a repetition of more than {} is not counted; leave the upper bound out", kRepeatMax);
      }
    }
    return static_cast<uint32_t>(value);
  }

  Result<ExpressionId> literal() {
    const size_t begin = at_++;
    std::string bytes;
    while (peek() != '"') {
      if (at_end() || peek() == '\n') return error_at(begin, "this text is not closed with '\"' on its line");
      MOXIE_TRY(const uint32_t c, character());
      append_utf8(bytes, c);
    }
    ++at_;
    return grammar_.literal(std::move(bytes));
  }

  Result<ExpressionId> char_class() {
    const size_t begin = at_++;
    const bool negated = peek() == '^';
    if (negated) ++at_;
    CharSet set;
    while (peek() != ']') {
      if (at_end() || peek() == '\n') return error_at(begin, "this '[' is not closed with ']' on its line");
      const size_t first_at = at_;
      MOXIE_TRY(const uint32_t first, character());
      uint32_t last = first;
      if (peek() == '-' && peek(1) != ']') {
        ++at_;
        if (at_end()) return error_at(begin, "this '[' is not closed with ']' on its line");
        MOXIE_TRY(last, character());
      }
      if (first > last) return error_at(first_at, "the range goes backwards; swap its ends");
      set.push_back({first, last});
    }
    ++at_;
    set = tidy(std::move(set));
    return grammar_.chars(negated ? complement(set) : std::move(set));
  }

  Result<uint32_t> character() {
    const size_t begin = at_;
    uint32_t c = 0;
    if (!next_utf8(text_, at_, c)) return error("this is no UTF-8; write it as \\xHH, \\uHHHH or \\UHHHHHHHH");
    if (c != '\\') return c;
    const char kind = peek();
    if (!at_end()) ++at_;
    switch (kind) {
      case 'n':
        return uint32_t{'\n'};
      case 'r':
        return uint32_t{'\r'};
      case 't':
        return uint32_t{'\t'};
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
      case '/':
        return static_cast<uint32_t>(kind);
      case 'x':
        return hex(begin, 2);
      case 'u':
        return hex(begin, 4);
      case 'U':
        return hex(begin, 8);
      default:
        return error_at(begin,
                        "no such escape; there are \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ \\xHH \\uHHHH \\UHHHHHHHH");
    }
  }

  Result<uint32_t> hex(size_t begin, int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const int digit = is_digit(c)            ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return error_at(begin, "this escape takes {} hexadecimal digits", digits);
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    if (value > kMaxChar || (value >= 0xD800 && value <= 0xDFFF)) {
      return error_at(begin, "U+{:04X} is no character; the last is U+10FFFF, and surrogates are none", value);
    }
    return value;
  }

  Result<ExpressionId> token() {
    const size_t begin = at_;
    const bool negated = peek() == '!';
    if (negated) ++at_;
    const size_t open = at_;
    const size_t close = text_.find('>', at_);
    if (close == std::string_view::npos || text_.substr(at_, close - at_).find('\n') != std::string_view::npos) {
      return error_at(begin, "this token is not closed with '>' on its line");
    }
    at_ = close + 1;
    const std::string_view inner = text_.substr(open + 1, close - open - 1);
    int64_t id = -1;
    if (inner.size() > 2 && inner.front() == '[' && inner.back() == ']') {
      id = 0;
      for (const char c : inner.substr(1, inner.size() - 2)) {
        if (!is_digit(c) || id > std::numeric_limits<int32_t>::max() / 10 - 1) {
          return error_at(begin, "'{}' is no token id", inner);
        }
        id = id * 10 + (c - '0');
      }
    } else {
      id = find_token_ ? find_token_(text_.substr(open, at_ - open)) : -1;
      if (id < 0) {
        return error_at(begin, "the vocabulary has no token '{}'; name it by id: <[1000]>",
                        text_.substr(open, at_ - open));
      }
    }
    return grammar_.add({.kind = Expression::Kind::token, .negated = negated, .token = static_cast<int32_t>(id)});
  }

  const std::string_view text_;
  const FindToken& find_token_;
  size_t at_ = 0;
  Grammar grammar_;
  std::map<std::string, RuleId, std::less<>> ids_;
  std::vector<size_t> first_uses_;  // (rules), for errors
};

}  // namespace

Result<Grammar> parse_gbnf(std::string_view text, const FindToken& find_token) {
  return GbnfParser(text, find_token).parse();
}

}  // namespace moxie::grammar

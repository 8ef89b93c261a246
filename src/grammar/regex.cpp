#include "grammar/regex.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/fail.h"

namespace moxie::grammar {
namespace {

constexpr size_t kPatternBytesMax = 64 << 10;
constexpr size_t kNodesMax = 200'000;
constexpr size_t kWorkMax = 20'000'000;
constexpr int kGroupDepthMax = 200;
constexpr uint32_t kPatternRepeatMax = 100'000;

struct Term {
  enum class Kind : uint8_t { chars, sequence, choice, repeat, begin, end };
  Kind kind;
  CharSet chars;
  std::vector<uint32_t> parts;
  uint32_t min = 0, max = 0;
};

const CharSet& digits() {
  static const CharSet set = {{'0', '9'}};
  return set;
}
const CharSet& word_chars() {
  static const CharSet set = tidy({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
  return set;
}
const CharSet& blanks() {
  static const CharSet set = tidy({{0x09, 0x0D},
                                   {0x20, 0x20},
                                   {0xA0, 0xA0},
                                   {0x1680, 0x1680},
                                   {0x2000, 0x200A},
                                   {0x2028, 0x2029},
                                   {0x202F, 0x202F},
                                   {0x205F, 0x205F},
                                   {0x3000, 0x3000},
                                   {0xFEFF, 0xFEFF}});
  return set;
}
const CharSet& line_chars() {  // what '.' takes
  static const CharSet set = complement(tidy({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
  return set;
}

class RegexParser {
 public:
  explicit RegexParser(std::string_view text) : text_(text) {}

  Result<uint32_t> parse() {
    if (text_.size() > kPatternBytesMax) {
      return fail(ErrorCode::unsupported, "the pattern has {} bytes; at most {} are read", text_.size(),
                  kPatternBytesMax);
    }
    MOXIE_TRY(const uint32_t whole, choice(0));
    if (!at_end()) return error("this ')' closes nothing; write \\)");
    return whole;
  }
  const std::vector<Term>& terms() const { return terms_; }

 private:
  bool at_end() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  template <typename... Args>
  Error error(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(ErrorCode::invalid_argument, "pattern, column {}: {}", at_ + 1,
                fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  Error not_regular(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(ErrorCode::unsupported, "pattern, column {}: {}", at_ + 1,
                fmt::format(format, std::forward<Args>(args)...));
  }
  uint32_t add(Term term) {
    terms_.push_back(std::move(term));
    return static_cast<uint32_t>(terms_.size() - 1);
  }
  uint32_t chars(CharSet set) { return add({.kind = Term::Kind::chars, .chars = std::move(set)}); }

  Result<uint32_t> choice(int depth) {
    if (depth > kGroupDepthMax) return not_regular("groups are nested more than {} deep", kGroupDepthMax);
    std::vector<uint32_t> parts;
    for (;;) {
      MOXIE_TRY(const uint32_t part, sequence(depth));
      parts.push_back(part);
      if (peek() != '|' || at_end()) break;
      ++at_;
    }
    return parts.size() == 1 ? parts[0] : add({.kind = Term::Kind::choice, .parts = std::move(parts)});
  }

  Result<uint32_t> sequence(int depth) {
    std::vector<uint32_t> parts;
    while (!at_end() && peek() != '|' && peek() != ')') {
      MOXIE_TRY(uint32_t part, atom(depth));
      MOXIE_TRY(part, repetition(part));
      parts.push_back(part);
    }
    return add({.kind = Term::Kind::sequence, .parts = std::move(parts)});
  }

  Result<uint32_t> atom(int depth) {
    const char c = peek();
    switch (c) {
      case '^':
        ++at_;
        return add({.kind = Term::Kind::begin});
      case '$':
        ++at_;
        return add({.kind = Term::Kind::end});
      case '.':
        ++at_;
        return chars(line_chars());
      case '[':
        return char_class();
      case '(':
        return group(depth);
      case '*':
      case '+':
      case '?':
        return error("'{}' has nothing to repeat; write \\{}", c, c);
      case '\\': {
        if (peek(1) == 'A' || peek(1) == 'Z' || peek(1) == 'z') {
          const bool begins = peek(1) == 'A';
          at_ += 2;
          return add({.kind = begins ? Term::Kind::begin : Term::Kind::end});
        }
        MOXIE_TRY(CharSet set, escape(false));
        return chars(std::move(set));
      }
      default: {
        uint32_t character = 0;
        if (!next_utf8(text_, at_, character)) return error("this is no UTF-8; write \\uHHHH");
        return chars({{character, character}});
      }
    }
  }

  Result<uint32_t> group(int depth) {
    const size_t begin = at_++;
    if (peek() == '?') {
      if (peek(1) == ':') {
        at_ += 2;
      } else if (peek(1) == '=' || peek(1) == '!' || (peek(1) == '<' && (peek(2) == '=' || peek(2) == '!'))) {
        return not_regular("look-around is not supported; say what matches without it");
      } else if (peek(1) == '<' || (peek(1) == 'P' && peek(2) == '<')) {
        const size_t close = text_.find('>', at_);
        if (close == std::string_view::npos) return error("this group's name is not closed with '>'");
        at_ = close + 1;
      } else {
        return not_regular("flags within a pattern are not supported; write both cases as [aA]");
      }
    }
    MOXIE_TRY(const uint32_t inner, choice(depth + 1));
    if (peek() != ')') {
      at_ = begin;
      return error("this '(' is not closed; add ')'");
    }
    ++at_;
    return inner;
  }

  Result<uint32_t> repetition(uint32_t part) {
    for (bool again = false;; again = true) {
      uint32_t min = 0, max = kUnbounded;
      const char c = peek();
      const size_t begin = at_;
      if (at_end()) return part;
      if (c == '{') {
        MOXIE_TRY(const bool counted, bounds(min, max));
        if (!counted) return part;  // a brace that stands for itself
      } else if (c == '*' || c == '+' || c == '?') {
        ++at_;
        min = c == '+' ? 1 : 0;
        max = c == '?' ? 1 : kUnbounded;
      } else {
        return part;
      }
      if (again) {
        at_ = begin;
        return error("'{}' repeats a repetition; put the first into a group", c);
      }
      if (peek() == '?' && !at_end()) ++at_;  // lazy: the same texts
      if (peek() == '+') return not_regular("possessive repetitions are not supported; leave the '+' out");
      part = add({.kind = Term::Kind::repeat, .parts = {part}, .min = min, .max = max});
    }
  }

  // False: not a count; nothing is taken.
  Result<bool> bounds(uint32_t& min, uint32_t& max) {
    size_t at = at_ + 1;
    bool too_many = false;
    const auto number = [&](uint32_t& value) {
      const size_t begin = at;
      uint64_t read = 0;
      for (; at < text_.size() && text_[at] >= '0' && text_[at] <= '9'; ++at) {
        read = std::min<uint64_t>(read * 10 + static_cast<uint64_t>(text_[at] - '0'), kPatternRepeatMax + 1);
      }
      too_many = too_many || read > kPatternRepeatMax;
      value = static_cast<uint32_t>(read);
      return at > begin;
    };
    if (!number(min)) return false;
    max = min;
    if (at < text_.size() && text_[at] == ',') {
      ++at;
      if (!number(max)) max = kUnbounded;
    }
    if (at >= text_.size() || text_[at] != '}') return false;
    if (too_many) return not_regular("a count above {}; use '*' or a smaller one", kPatternRepeatMax);
    if (min > max) return error("a repetition of {} to {} is empty; swap the two", min, max);
    at_ = at + 1;
    return true;
  }

  Result<uint32_t> char_class() {
    const size_t begin = at_++;
    const bool negated = peek() == '^';
    if (negated) ++at_;
    CharSet set;
    while (peek() != ']' || at_end()) {
      if (at_end()) {
        at_ = begin;
        return error("this '[' is not closed; add ']'");
      }
      MOXIE_TRY(const CharSet first, class_part());
      const bool single = first.size() == 1 && first[0].first == first[0].last;
      if (peek() == '-' && peek(1) != ']' && peek(1) != '\0' && single) {
        ++at_;
        MOXIE_TRY(const CharSet last, class_part());
        if (last.size() == 1 && last[0].first == last[0].last) {
          if (first[0].first > last[0].first) return error("the range before this goes backwards; swap its ends");
          set.push_back({first[0].first, last[0].first});
          continue;
        }
        set.push_back({'-', '-'});
        set.insert(set.end(), last.begin(), last.end());
      }
      set.insert(set.end(), first.begin(), first.end());
    }
    ++at_;
    set = tidy(std::move(set));
    return chars(negated ? complement(set) : std::move(set));
  }

  Result<CharSet> class_part() {
    if (peek() == '\\') return escape(true);
    uint32_t c = 0;
    if (!next_utf8(text_, at_, c)) return error("this is no UTF-8; write \\uHHHH");
    return CharSet{{c, c}};
  }

  Result<CharSet> escape(bool in_class) {
    ++at_;
    if (at_end()) return error("the pattern ends with '\\'; write \\\\");
    const char kind = peek();
    const auto single = [](uint32_t c) { return CharSet{{c, c}}; };
    switch (kind) {
      case 'd':
      case 'D':
        ++at_;
        return kind == 'd' ? digits() : complement(digits());
      case 'w':
      case 'W':
        ++at_;
        return kind == 'w' ? word_chars() : complement(word_chars());
      case 's':
      case 'S':
        ++at_;
        return kind == 's' ? blanks() : complement(blanks());
      case 'n':
        ++at_;
        return single('\n');
      case 'r':
        ++at_;
        return single('\r');
      case 't':
        ++at_;
        return single('\t');
      case 'f':
        ++at_;
        return single('\f');
      case 'v':
        ++at_;
        return single('\v');
      case 'a':
        return error("no such escape as \\a; write \\x07");
      case 'b':
        if (!in_class) return not_regular("word boundaries are not supported; say which characters come there");
        ++at_;
        return single('\b');
      case 'B':
        return not_regular("word boundaries are not supported; say which characters come there");
      case 'k':
        return not_regular("back-references are not supported; write the group out again");
      case 'p':
      case 'P':
        return not_regular("Unicode properties are not supported; list the ranges: [a-zà-ÿ]");
      case 'c':
        if ((peek(1) | 0x20) < 'a' || (peek(1) | 0x20) > 'z') return error("\\c takes a letter");
        at_ += 2;
        return single(static_cast<uint32_t>(text_[at_ - 1] & 0x1F));
      case 'x':
      case 'u': {
        MOXIE_TRY(const uint32_t c, code_point());
        return single(c);
      }
      default:
        break;
    }
    if (kind == '0' && !(peek(1) >= '0' && peek(1) <= '9')) {
      ++at_;
      return single(0);
    }
    if (kind >= '0' && kind <= '9') {
      return not_regular("back-references are not supported; write the group out again");
    }
    if ((kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z')) return error("no such escape as \\{}", kind);
    uint32_t c = 0;
    if (!next_utf8(text_, at_, c)) return error("this is no UTF-8; write \\uHHHH");
    return single(c);
  }

  // At 'x' or 'u'.
  Result<uint32_t> code_point() {
    const bool is_x = peek() == 'x';
    ++at_;
    if (!is_x && peek() == '{') {
      const size_t close = text_.find('}', at_);
      if (close == std::string_view::npos || close - at_ > 8) return error("\\u{{...}} takes up to six digits");
      const size_t count = close - at_ - 1;
      ++at_;
      MOXIE_TRY(const uint32_t c, hex(count));
      ++at_;
      return checked(c);
    }
    MOXIE_TRY(uint32_t c, hex(is_x ? 2 : 4));
    if (c >= 0xD800 && c <= 0xDBFF && peek() == '\\' && peek(1) == 'u') {
      at_ += 2;
      MOXIE_TRY(const uint32_t low, hex(4));
      if (low < 0xDC00 || low > 0xDFFF) return error("half a surrogate pair is no character");
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    return checked(c);
  }
  Result<uint32_t> checked(uint32_t c) const {
    if (c > kMaxChar || (c >= 0xD800 && c <= 0xDFFF)) return error("U+{:04X} is no character", c);
    return c;
  }
  Result<uint32_t> hex(size_t count) {
    uint32_t value = 0;
    if (count == 0) return error("hexadecimal digits are missing");
    for (size_t i = 0; i < count; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return error("a hexadecimal digit is expected here");
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    return value;
  }

  const std::string_view text_;
  size_t at_ = 0;
  std::vector<Term> terms_;
};

struct Node {
  enum class Way : uint8_t { always, at_begin, at_end };
  std::vector<std::pair<Way, uint32_t>> empty;
  std::vector<std::pair<CharSet, uint32_t>> chars;
};

class Builder {
 public:
  explicit Builder(const std::vector<Term>& terms) : terms_(terms) {}

  Result<CharDfa> build(uint32_t whole, RegexMatch match) {
    const uint32_t start = node(), end = node();
    if (match == RegexMatch::anywhere) {
      const uint32_t later = node(), begin = node();
      nodes_[start].chars.emplace_back(any_char(), later);
      nodes_[later].chars.emplace_back(any_char(), later);
      nodes_[end].chars.emplace_back(any_char(), end);
      connect(start, begin);
      connect(later, begin);
      lower(whole, begin, end);
    } else {
      lower(whole, start, end);
    }
    if (full_) {
      return fail(ErrorCode::unsupported, "the pattern takes more than {} nodes; use smaller counts", kNodesMax);
    }
    return determinise(start, end);
  }

 private:
  using Way = Node::Way;
  uint32_t node() {
    if (nodes_.size() >= kNodesMax) full_ = true;
    if (!full_) nodes_.emplace_back();
    return static_cast<uint32_t>(nodes_.size() - 1);
  }
  void connect(uint32_t from, uint32_t to, Way way = Way::always) { nodes_[from].empty.emplace_back(way, to); }

  void lower(uint32_t id, uint32_t from, uint32_t to) {
    if (full_) return;
    const Term& term = terms_[id];
    switch (term.kind) {
      case Term::Kind::chars:
        nodes_[from].chars.emplace_back(term.chars, to);
        return;
      case Term::Kind::begin:
        connect(from, to, Way::at_begin);
        return;
      case Term::Kind::end:
        connect(from, to, Way::at_end);
        return;
      case Term::Kind::sequence: {
        uint32_t at = from;
        for (const uint32_t part : term.parts) {
          const uint32_t next = node();
          lower(part, at, next);
          at = next;
        }
        connect(at, to);
        return;
      }
      case Term::Kind::choice:
        for (const uint32_t part : term.parts) {
          const uint32_t begin = node(), end = node();
          connect(from, begin);
          lower(part, begin, end);
          connect(end, to);
        }
        return;
      case Term::Kind::repeat: {
        uint32_t at = from;
        const bool endless = term.max == kUnbounded;
        for (uint32_t i = 0; i < (endless ? term.min : term.max) && !full_; ++i) {
          const uint32_t begin = node(), end = node();
          if (i >= term.min) connect(at, to);
          connect(at, begin);
          lower(term.parts[0], begin, end);
          at = end;
        }
        if (endless) {
          const uint32_t loop = node(), end = node();
          connect(at, loop);
          lower(term.parts[0], loop, end);
          connect(end, loop);
          connect(loop, to);
        } else {
          connect(at, to);
        }
        return;
      }
    }
  }

  std::vector<uint32_t> closure(std::vector<uint32_t> from, bool at_begin, bool at_end) {
    ++mark_;
    seen_.resize(nodes_.size(), 0);
    std::vector<uint32_t> set;
    for (const uint32_t each : from) {
      if (seen_[each] == mark_) continue;
      seen_[each] = mark_;
      set.push_back(each);
    }
    for (size_t i = 0; i < set.size(); ++i) {
      for (const auto& [way, to] : nodes_[set[i]].empty) {
        ++work_;
        if ((way == Way::at_begin && !at_begin) || (way == Way::at_end && !at_end) || seen_[to] == mark_) continue;
        seen_[to] = mark_;
        set.push_back(to);
      }
    }
    std::sort(set.begin(), set.end());
    return set;
  }

  Result<CharDfa> determinise(uint32_t start, uint32_t end) {
    CharDfa out;
    out.states.clear();
    std::map<std::vector<uint32_t>, uint32_t> ids;
    std::vector<const std::vector<uint32_t>*> sets;
    bool at_begin = true;
    const auto intern = [&](std::vector<uint32_t> set) {
      const auto [known, is_new] = ids.try_emplace(std::move(set), static_cast<uint32_t>(sets.size()));
      if (is_new) {
        sets.push_back(&known->first);
        const auto last = closure(known->first, at_begin, true);
        out.states.push_back({.accepting = std::binary_search(last.begin(), last.end(), end)});
      }
      return known->second;
    };
    // The set before any text is not shared: only there '^' holds, which its members do not show.
    std::vector<uint32_t> first = closure({start}, true, false);
    first.push_back(0xFFFFFFFFu);
    {
      const auto [known, is_new] = ids.try_emplace(first, 0);
      sets.push_back(&known->first);
      first.pop_back();
      const auto last = closure(first, true, true);
      out.states.push_back({.accepting = std::binary_search(last.begin(), last.end(), end)});
    }
    at_begin = false;
    for (size_t i = 0; i < sets.size(); ++i) {
      if (sets.size() > CharDfa::kStatesMax || work_ > kWorkMax) {
        return fail(ErrorCode::unsupported,
                    "the pattern takes more than {} states; use smaller counts, or fewer parts that begin alike",
                    CharDfa::kStatesMax);
      }
      struct Piece {
        uint32_t first, last, target;
      };
      std::vector<Piece> pieces;
      std::vector<uint32_t> bounds;
      for (const uint32_t at : *sets[i]) {
        if (at == 0xFFFFFFFFu) continue;
        for (const auto& [set, to] : nodes_[at].chars) {
          for (const CharRange range : set) {
            pieces.push_back({range.first, range.last, to});
            bounds.push_back(range.first);
            bounds.push_back(range.last + 1);
          }
        }
      }
      std::sort(bounds.begin(), bounds.end());
      bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
      for (size_t b = 0; b + 1 < bounds.size() && work_ <= kWorkMax; ++b) {
        std::vector<uint32_t> reached;
        work_ += pieces.size();
        for (const Piece& piece : pieces) {
          if (piece.first <= bounds[b] && bounds[b] <= piece.last) reached.push_back(piece.target);
        }
        if (reached.empty()) continue;
        const uint32_t target = intern(closure(std::move(reached), false, false));
        out.states[i].edges.push_back({bounds[b], bounds[b + 1] - 1, target});
      }
    }
    out.trim();
    return out;
  }

  const std::vector<Term>& terms_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> seen_;
  uint32_t mark_ = 0;
  size_t work_ = 0;
  bool full_ = false;
};

}  // namespace

Result<CharDfa> compile_regex(std::string_view text, RegexMatch match) {
  RegexParser parser(text);
  MOXIE_TRY(const uint32_t whole, parser.parse());
  return Builder(parser.terms()).build(whole, match);
}

}  // namespace moxie::grammar

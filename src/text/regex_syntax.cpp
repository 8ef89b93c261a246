// From Oniguruma's syntax to PCRE2's.
#include <cctype>
#include <vector>

#include "core/fail.h"
#include "text/regex.h"

namespace moxie {
namespace {

constexpr std::string_view kWordSet = "\\p{L}\\p{M}\\p{Nd}\\p{Pc}";
constexpr size_t kClassDepthMax = 8;

// General categories; other names in \p{...} are scripts, which PCRE2 would take as "script or its extensions".
bool is_category(std::string_view name) {
  if (name == "L&" || name == "Any") return true;
  if (name.empty() || name.size() > 2 || std::string_view("CLMNPSZ").find(name[0]) == std::string_view::npos)
    return false;
  return name.size() == 1 || std::islower(static_cast<unsigned char>(name[1])) != 0;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> run() {
    std::string out;
    while (at_ < pattern_.size()) {
      if (pattern_[at_] == '\\') {
        MOXIE_TRY(const std::string escape, read_escape(false));
        out += escape;
      } else if (pattern_[at_] == '[') {
        MOXIE_TRY(const Class set, read_class(0));
        out += write(set);
      } else {
        out += pattern_[at_++];
      }
    }
    return out;
  }

 private:
  // A character class: what stands between its brackets, and the classes it is intersected with.
  struct Class {
    bool negated = false;
    std::string members;
    std::vector<Class> intersected;
  };

  Error refuse(std::string_view what) const {
    return fail(ErrorCode::unsupported, "pattern '{}' is not supported: {} at byte {}", pattern_.substr(0, 200), what,
                at_);
  }

  static std::string write(const Class& set) {
    if (set.intersected.empty()) return fmt::format("[{}{}]", set.negated ? "^" : "", set.members);
    // In every intersected set: look ahead at each, then take a character.
    std::string looks;
    for (const Class& other : set.intersected) looks += "(?=" + write(other) + ")";
    const std::string positive = looks + "[" + set.members + "]";
    return set.negated ? "(?:(?!" + positive + ")[\\s\\S])" : "(?:" + positive + ")";
  }

  // REQUIRES: pattern_[at_] is a backslash.
  Result<std::string> read_escape(bool in_class) {
    if (at_ + 1 >= pattern_.size()) return refuse("a backslash at the end");
    const char kind = pattern_[at_ + 1];
    const auto take = [this](std::string text) {
      at_ += 2;
      return text;
    };
    switch (kind) {
      case 's':
        return take("\\p{White_Space}");  // PCRE2's own \s has U+180E in it
      case 'S':
        return take("\\P{White_Space}");
      case 'w':
        return take(in_class ? std::string(kWordSet) : fmt::format("[{}]", kWordSet));
      case 'W':
        if (in_class) return refuse("\\W in a character class");
        return take(fmt::format("[^{}]", kWordSet));
      case 'h':
        return take(in_class ? "0-9A-Fa-f" : "[0-9A-Fa-f]");
      case 'H':
        return refuse("\\H");
      case 'u':
        return read_code_point();
      case 'p':
      case 'P':
        return read_property();
      default: {
        std::string text(pattern_.substr(at_, 2));
        at_ += 2;
        return text;
      }
    }
  }

  Result<std::string> read_code_point() {
    const std::string_view digits = pattern_.substr(at_ + 2, 4);
    for (const char c : digits) {
      if (!std::isxdigit(static_cast<unsigned char>(c))) return refuse("\\u without four digits");
    }
    if (digits.size() != 4) return refuse("\\u without four digits");
    at_ += 6;
    return fmt::format("\\x{{{}}}", digits);
  }

  Result<std::string> read_property() {
    const char kind = pattern_[at_ + 1];
    if (at_ + 2 < pattern_.size() && pattern_[at_ + 2] != '{') {  // \pL
      std::string text = fmt::format("\\{}{{{}}}", kind, pattern_[at_ + 2]);
      at_ += 3;
      return text;
    }
    const size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) return refuse("a property without its end");
    std::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
    bool negated = kind == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    at_ = end + 1;
    return fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', is_category(name) ? "" : "sc:", name);
  }

  // REQUIRES: pattern_[at_] is the opening bracket.
  Result<Class> read_class(size_t depth) {
    if (depth >= kClassDepthMax) return refuse("too many nested character classes");
    Class set;
    ++at_;
    if (at_ < pattern_.size() && pattern_[at_] == '^') {
      set.negated = true;
      ++at_;
    }
    for (bool first = true;; first = false) {
      if (at_ >= pattern_.size()) return refuse("a character class without its end");
      const char c = pattern_[at_];
      if (c == ']' && !first) {
        ++at_;
        return set;
      }
      if (c == '\\') {
        MOXIE_TRY(const std::string escape, read_escape(true));
        set.members += escape;
      } else if (c == '[' && pattern_.substr(at_, 2) == "[:") {
        const size_t end = pattern_.find(":]", at_);
        if (end == std::string_view::npos) return refuse("'[:' without ':]'");
        set.members += pattern_.substr(at_, end + 2 - at_);
        at_ = end + 2;
      } else if (c == '[') {
        MOXIE_TRY(const Class inner, read_class(depth + 1));
        if (inner.negated || !inner.intersected.empty()) return refuse("a negated class within a character class");
        set.members += inner.members;
      } else if (c == '&' && pattern_.substr(at_, 2) == "&&") {
        at_ += 2;
        if (at_ >= pattern_.size() || pattern_[at_] != '[' || set.members.empty())
          return refuse("'&&' without two classes");
        MOXIE_TRY(Class other, read_class(depth + 1));
        set.intersected.push_back(std::move(other));
        if (at_ >= pattern_.size() || (pattern_[at_] != ']' && pattern_[at_] != '&')) return refuse("more behind '&&'");
      } else {
        if (c == ']') set.members += '\\';
        set.members += c;
        ++at_;
      }
    }
  }

  std::string_view pattern_;
  size_t at_ = 0;
};

}  // namespace

Result<std::string> to_pcre2_syntax(std::string_view pattern) {
  // Matching this at every blank of a run costs the square of its length; only the first of a run can match anyway.
  if (pattern == "\\s+$") return std::string("(?<!\\p{White_Space})\\p{White_Space}+$");
  return Translator(pattern).run();
}

}  // namespace moxie

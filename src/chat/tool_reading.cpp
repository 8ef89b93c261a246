#include "chat/tool_reading.h"

#include <charconv>

#include "text/utf8.h"

namespace moxie {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr size_t kOpenMax = 100;  // brackets within each other; the JSON parser's limit is of this order

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

// Literals of Python: texts, numbers, True, False, None, lists, tuples, dictionaries; JSON's words too.
class PythonReader {
 public:
  PythonReader(std::string_view text, size_t at) : text_(text), at_(at) {}
  size_t at() const { return at_; }

  std::optional<PythonCall> call() {
    PythonCall call;
    call.name = name();
    if (call.name.empty() || !take('(')) return std::nullopt;
    Json::Object arguments;
    while (!take(')')) {
      if (!arguments.empty() && !take(',')) return std::nullopt;
      blanks();
      if (take(')')) break;
      const std::string key = name();
      if (key.empty() || !take('=')) return std::nullopt;
      auto one = value(0);
      if (!one) return std::nullopt;
      arguments.push_back({key, *std::move(one)});
    }
    call.arguments = Json{std::move(arguments)};
    call.end = at_;
    return call;
  }

 private:
  void blanks() { at_ = skip_blanks(text_, at_); }
  bool take(char c) {
    blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string name() {
    blanks();
    const size_t begin = at_;
    while (at_ < text_.size() && is_name_char(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::optional<Json> value(int depth) {
    blanks();
    if (depth > 32 || at_ >= text_.size()) return std::nullopt;
    const char c = text_[at_];
    if (c == '"' || c == '\'') return quoted();
    if (c == '[' || c == '(') return list(depth, c == '[' ? ']' : ')');
    if (c == '{') return dictionary(depth);
    const size_t begin = at_;
    while (at_ < text_.size() && (is_name_char(text_[at_]) || text_[at_] == '+')) ++at_;
    const std::string_view word = text_.substr(begin, at_ - begin);
    if (word == "True") return Json{true};
    if (word == "False") return Json{false};
    if (word == "None") return Json{};
    auto parsed = parse_json(word, "value");
    if (!parsed.ok()) return std::nullopt;
    return *std::move(parsed);
  }

  std::optional<Json> list(int depth, char close) {
    ++at_;
    Json::Array values;
    while (!take(close)) {
      if (!values.empty() && !take(',')) return std::nullopt;
      if (take(close)) break;
      auto one = value(depth + 1);
      if (!one) return std::nullopt;
      values.push_back(*std::move(one));
    }
    return Json{std::move(values)};
  }

  std::optional<Json> dictionary(int depth) {
    ++at_;
    Json::Object members;
    while (!take('}')) {
      if (!members.empty() && !take(',')) return std::nullopt;
      if (take('}')) break;
      auto key = value(depth + 1);
      if (!key || !key->text() || !take(':')) return std::nullopt;
      auto one = value(depth + 1);
      if (!one) return std::nullopt;
      members.push_back({*key->text(), *std::move(one)});
    }
    return Json{std::move(members)};
  }

  std::optional<Json> quoted() {
    const char quote = text_[at_++];
    std::string out;
    while (at_ < text_.size() && text_[at_] != quote) {
      char c = text_[at_++];
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) return std::nullopt;
      c = text_[at_++];
      constexpr std::string_view kFrom = "ntrbf0", kTo = std::string_view("\n\t\r\b\f\0", 6);
      if (const size_t which = kFrom.find(c); which != std::string_view::npos) {
        out += kTo[which];
      } else if (const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0; digits != 0) {
        uint32_t code = 0;
        const std::string_view hex = text_.substr(at_, digits);
        const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
        if (hex.size() != digits || error != std::errc() || end != hex.data() + hex.size() || code > 0x10FFFF ||
            (code >= 0xD800 && code < 0xE000)) {
          return std::nullopt;
        }
        append_utf8(out, code);
        at_ += digits;
      } else if (c == '\\' || c == '\'' || c == '"') {
        out += c;
      } else {
        out += '\\';
        out += c;
      }
    }
    if (at_ >= text_.size()) return std::nullopt;
    ++at_;
    return Json{std::move(out)};
  }

  std::string_view text_;
  size_t at_;
};

class SeparatorReader final : public BlockReader {
 public:
  explicit SeparatorReader(size_t length) : length_(length) {}
  BlockScan scan(std::string_view, End) override { return {.verdict = BlockScan::Verdict::separator, .used = length_}; }

 private:
  const size_t length_;
};

}  // namespace

size_t skip_blanks(std::string_view text, size_t from) {
  return std::min(text.find_first_not_of(kBlanks, from), text.size());
}

std::string_view without_blanks(std::string_view text) {
  const size_t first = skip_blanks(text, 0);
  if (first == text.size()) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

Stands stands_at(std::string_view text, size_t at, std::string_view part) {
  if (at > text.size()) return Stands::no;
  const std::string_view there = text.substr(at, part.size());
  if (there != part.substr(0, there.size())) return Stands::no;
  return there.size() == part.size() ? Stands::yes : Stands::partly;
}

JsonSpan::State JsonSpan::read(std::string_view text) {
  for (; state_ == State::more && at_ < text.size(); ++at_) {
    const char c = text[at_];
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
    } else if (c == '{' || c == '[') {
      open_ += c == '{' ? '}' : ']';
      if (open_.size() > kOpenMax) state_ = State::broken;
    } else if (open_.empty()) {
      state_ = State::broken;
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '}' || c == ']') {
      if (open_.back() != c) {
        state_ = State::broken;
      } else {
        open_.pop_back();
        if (open_.empty()) state_ = State::whole;
      }
    }
  }
  return state_;
}

std::optional<std::string> JsonSpan::missing() const {
  if (state_ != State::more || in_string_ || open_.empty()) return std::nullopt;
  return std::string(open_.rbegin(), open_.rend());
}

ReadJson read_json(JsonSpan& span, std::string_view text, size_t begin, BlockReader::End end) {
  ReadJson read;
  read.state = span.read(text);
  if (read.state == JsonSpan::State::broken) return read;
  std::string closed;
  std::string_view json = text.substr(begin, span.end() - begin);
  read.end = span.end();
  if (read.state == JsonSpan::State::more) {
    if (!end.ended) return read;
    const auto missing = end.cut ? std::nullopt : span.missing();
    if (!missing) {
      read.state = JsonSpan::State::broken;
      return read;
    }
    closed.append(json).append(*missing);
    json = closed;
    read.end = text.size();
  }
  auto parsed = parse_json(json, "tool call");
  read.state = parsed.ok() ? JsonSpan::State::whole : JsonSpan::State::broken;
  if (parsed.ok()) read.json = *std::move(parsed);
  return read;
}

std::optional<PythonCall> read_python_call(std::string_view text, size_t at) {
  return PythonReader(text, at).call();
}

BlockScan HeadedCallReader::scan(std::string_view block, End end) {
  if (!span_) {
    switch (head(block, call_, begin_)) {
      case Head::more:
        return end.ended || block.size() > kHeadMax ? is_text() : more();
      case Head::text:
        return is_text();
      case Head::read:
        break;
    }
    begin_ = skip_blanks(block, begin_);
    if (begin_ == block.size()) return end.ended ? is_text() : more();
    span_.emplace(begin_);
  }
  if (call_.arguments.empty()) {
    const ReadJson read = read_json(*span_, block, begin_, end);
    if (read.state == JsonSpan::State::more) return more();
    if (read.state == JsonSpan::State::broken || !read.json.object()) return is_text();
    call_.arguments = to_text(read.json);
    used_ = read.end;
  }
  size_t used = used_;
  for (const std::string_view mark : closing_) {
    const size_t at = skip_blanks(block, used);
    const Stands stands = stands_at(block, at, mark);
    if (stands == Stands::partly && !end.ended) return more();
    if (stands == Stands::yes) used = at + mark.size();
  }
  return is_call(used, call_);
}

std::unique_ptr<BlockReader> separator_reader(size_t length) {
  return std::make_unique<SeparatorReader>(length);
}

}  // namespace moxie

#include "text/text_steps.h"

#include <algorithm>
#include <optional>

#include "core/fail.h"
#include "text/regex.h"
#include "text/unicode_forms.h"
#include "text/utf8.h"

namespace moxie {
namespace {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size() + text.size() / 2);
  size_t at = 0;
  while (!from.empty()) {
    const size_t found = text.find(from, at);
    if (found == std::string_view::npos) break;
    result += text.substr(at, found - at);
    result += to;
    at = found + from.size();
  }
  result += text.substr(at);
  return result;
}

std::string collapse_spaces(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c != ' ' || (!result.empty() && result.back() != ' ')) result += c;
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

std::string strip_spaces(std::string_view text, const StripSpaces& step) {
  size_t begin = 0, end = text.size();
  const auto is_space = [](const Utf8Char& character) { return character.valid && is_white_space(character.code); };
  while (step.left && begin < end && is_space(utf8_at(text, begin))) begin += utf8_at(text, begin).bytes;
  while (step.right && end > begin && is_space(utf8_before(text, end))) end -= utf8_before(text, end).bytes;
  return std::string(text.substr(begin, end - begin));
}

using Range = TextPieces::Range;

// Calls visit(begin, end, is_match) for consecutive stretches that cover `text`. Bytes that are no UTF-8 match nothing.
template <typename Visit>
void visit_matches(RegexScan& scan, std::string_view text, Visit visit) {
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = begin;
    while (end < text.size()) {
      const Utf8Char character = utf8_at(text, end);
      if (!character.valid) break;
      end += character.bytes;
    }
    scan.start(text.substr(begin, end - begin));
    size_t last = begin;
    for (RegexScan::Match match; scan.next(match);) {
      if (begin + match.begin > last) visit(last, begin + match.begin, false);
      visit(begin + match.begin, begin + match.end, true);
      last = begin + match.end;
    }
    if (last < end) visit(last, end, false);
    begin = end;
    while (end < text.size() && !utf8_at(text, end).valid) ++end;
    if (end > begin) visit(begin, end, false);
    begin = end;
  }
}

struct Stretch {
  size_t begin, end;
  bool is_match;
};

// Joins the stretches of one piece as the behavior says, and appends the pieces that are left.
void join(SplitBehavior behavior, std::vector<Stretch>& stretches, std::vector<Range>& out) {
  const auto emit = [&out](size_t begin, size_t end) {
    if (end > begin) out.push_back({begin, end});
  };
  if (behavior == SplitBehavior::isolated || behavior == SplitBehavior::removed) {
    for (const Stretch& s : stretches) {
      if (behavior == SplitBehavior::isolated || !s.is_match) emit(s.begin, s.end);
    }
    return;
  }
  const bool backwards = behavior == SplitBehavior::merged_with_next;
  if (backwards) std::reverse(stretches.begin(), stretches.end());
  std::vector<Range> joined;
  bool after_match = false;
  for (const Stretch& s : stretches) {
    const bool joins = behavior == SplitBehavior::contiguous ? s.is_match == after_match : s.is_match && !after_match;
    if (joins && !joined.empty()) {
      joined.back().begin = std::min(joined.back().begin, s.begin);
      joined.back().end = std::max(joined.back().end, s.end);
    } else {
      joined.push_back({s.begin, s.end});
    }
    after_match = s.is_match;
  }
  if (backwards) std::reverse(joined.begin(), joined.end());
  for (const Range& range : joined) emit(range.begin, range.end);
}

void split_by(const SplitRegex& step, const Regex& regex, TextPieces& pieces) {
  std::vector<Range> ranges;
  ranges.reserve(pieces.ranges.size() + pieces.text.size() / 8);
  std::vector<Stretch> stretches;
  RegexScan scan(regex);
  for (const Range& range : pieces.ranges) {
    stretches.clear();
    visit_matches(scan, std::string_view(pieces.text).substr(range.begin, range.end - range.begin),
                  [&](size_t begin, size_t end, bool is_match) {
                    stretches.push_back({range.begin + begin, range.begin + end, is_match != step.invert});
                  });
    join(step.behavior, stretches, ranges);
  }
  pieces.ranges = std::move(ranges);
}

std::string replace_matches(const ReplaceRegex& step, const Regex& regex, std::string_view text) {
  std::string result;
  RegexScan scan(regex);
  visit_matches(scan, text, [&](size_t begin, size_t end, bool is_match) {
    result += is_match ? std::string_view(step.to) : text.substr(begin, end - begin);
  });
  return result;
}

// Rewrites every piece by `rewrite(piece, index)`.
template <typename Rewrite>
void rewrite_pieces(TextPieces& pieces, Rewrite rewrite) {
  std::string text;
  text.reserve(pieces.text.size());
  for (size_t i = 0; i < pieces.ranges.size(); ++i) {
    Range& range = pieces.ranges[i];
    const std::string piece = rewrite(std::string_view(pieces.text).substr(range.begin, range.end - range.begin), i);
    range = {text.size(), text.size() + piece.size()};
    text += piece;
  }
  pieces.text = std::move(text);
}

// Every mark begins a piece.
void split_before(TextPieces& pieces, const std::string& mark) {
  std::vector<Range> ranges;
  for (const Range& range : pieces.ranges) {
    size_t begin = range.begin;
    for (size_t at = pieces.text.find(mark, begin); at != std::string::npos && at < range.end;
         at = pieces.text.find(mark, at + mark.size())) {
      if (at > begin) ranges.push_back({begin, at});
      begin = at;
    }
    if (begin < range.end) ranges.push_back({begin, range.end});
  }
  pieces.ranges = std::move(ranges);
}

void apply_metaspace(const Metaspace& step, bool first, TextPieces& pieces) {
  // "first" looks at where a piece lies in the whole input, so it is the first piece of the first text.
  rewrite_pieces(pieces, [&](std::string_view piece, size_t index) {
    std::string marked = replace_all(piece, " ", step.mark);
    const bool wanted = step.prepend == Metaspace::Prepend::always ||
                        (step.prepend == Metaspace::Prepend::first && first && index == 0);
    if (wanted && !marked.starts_with(step.mark)) marked.insert(0, step.mark);
    return marked;
  });
  if (step.split) split_before(pieces, step.mark);
}

}  // namespace

struct TextSteps::Step {
  std::variant<Normalizer, PreTokenizer> what;
  std::optional<Regex> regex;
};

TextSteps::TextSteps() = default;
TextSteps::TextSteps(TextSteps&&) noexcept = default;
TextSteps& TextSteps::operator=(TextSteps&&) noexcept = default;
TextSteps::~TextSteps() = default;

Result<TextSteps> TextSteps::create(const std::vector<Normalizer>& normalizers,
                                    const std::vector<PreTokenizer>& pre_tokenizers) {
  TextSteps steps;
  for (const Normalizer& normalizer : normalizers) {
    auto step = std::make_unique<Step>(Step{normalizer, std::nullopt});
    if (const auto* replace = std::get_if<ReplaceRegex>(&normalizer)) {
      MOXIE_TRY(step->regex, Regex::compile(replace->pattern));
    }
    steps.normalizers_.push_back(std::move(step));
  }
  for (const PreTokenizer& pre_tokenizer : pre_tokenizers) {
    auto step = std::make_unique<Step>(Step{pre_tokenizer, std::nullopt});
    if (const auto* split = std::get_if<SplitRegex>(&pre_tokenizer)) {
      MOXIE_TRY(step->regex, Regex::compile(split->pattern));
    }
    steps.pre_tokenizers_.push_back(std::move(step));
  }
  return steps;
}

std::string TextSteps::normalize(std::string_view given) const {
  std::string text(given);
  for (const auto& step : normalizers_) {
    std::visit(Overloaded{
                   [&](const PrependText& s) {
                     if (!text.empty()) text.insert(0, s.text);
                   },
                   [&](const ReplaceText& s) { text = replace_all(text, s.from, s.to); },
                   [&](const ReplaceRegex& s) { text = replace_matches(s, *step->regex, text); },
                   [&](const UnicodeForm& s) { text = apply_form(s, text); },
                   [&](const StripSpaces& s) { text = strip_spaces(text, s); },
                   [&](const CollapseSpaces&) { text = collapse_spaces(text); },
               },
               std::get<Normalizer>(step->what));
  }
  return text;
}

TextPieces TextSteps::split(std::string text, bool first) const {
  TextPieces pieces;
  pieces.ranges.push_back({0, text.size()});
  pieces.text = std::move(text);
  for (const auto& step : pre_tokenizers_) {
    std::visit(Overloaded{
                   [&](const SplitRegex& s) { split_by(s, *step->regex, pieces); },
                   [&](const Metaspace& s) { apply_metaspace(s, first, pieces); },
                   [&](const PrependSpace&) {
                     rewrite_pieces(pieces, [](std::string_view piece, size_t) {
                       return piece.starts_with(' ') ? std::string(piece) : ' ' + std::string(piece);
                     });
                   },
               },
               std::get<PreTokenizer>(step->what));
  }
  return pieces;
}

}  // namespace moxie

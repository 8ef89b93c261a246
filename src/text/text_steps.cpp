#include "text/text_steps.h"

#include "core/fail.h"

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

// Rewrites every piece by `rewrite(piece, index)`.
template <typename Rewrite>
void rewrite_pieces(TextPieces& pieces, Rewrite rewrite) {
  std::string text;
  text.reserve(pieces.text.size());
  for (size_t i = 0; i < pieces.ranges.size(); ++i) {
    TextPieces::Range& range = pieces.ranges[i];
    const std::string piece = rewrite(std::string_view(pieces.text).substr(range.begin, range.end - range.begin), i);
    range = {text.size(), text.size() + piece.size()};
    text += piece;
  }
  pieces.text = std::move(text);
}

// Every mark begins a piece.
void split_before(TextPieces& pieces, const std::string& mark) {
  std::vector<TextPieces::Range> ranges;
  for (const TextPieces::Range& range : pieces.ranges) {
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
};

TextSteps::TextSteps() = default;
TextSteps::TextSteps(TextSteps&&) noexcept = default;
TextSteps& TextSteps::operator=(TextSteps&&) noexcept = default;
TextSteps::~TextSteps() = default;

Result<TextSteps> TextSteps::create(const std::vector<Normalizer>& normalizers, const std::vector<PreTokenizer>& pre_tokenizers) {
  TextSteps steps;
  for (const Normalizer& normalizer : normalizers) {
    if (std::holds_alternative<ReplaceRegex>(normalizer) || std::holds_alternative<UnicodeForm>(normalizer)) {
      return fail(ErrorCode::unsupported, "the tokenizer normalizes in a way that is not supported");
    }
    steps.normalizers_.push_back(std::make_unique<Step>(Step{normalizer}));
  }
  for (const PreTokenizer& pre_tokenizer : pre_tokenizers) {
    if (std::holds_alternative<SplitRegex>(pre_tokenizer)) {
      return fail(ErrorCode::unsupported, "the tokenizer splits in a way that is not supported");
    }
    steps.pre_tokenizers_.push_back(std::make_unique<Step>(Step{pre_tokenizer}));
  }
  return steps;
}

std::string TextSteps::normalize(std::string_view given) const {
  std::string text(given);
  for (const auto& step : normalizers_) {
    std::visit(Overloaded{
                   [&](const PrependText& s) { if (!text.empty()) text.insert(0, s.text); },
                   [&](const ReplaceText& s) { text = replace_all(text, s.from, s.to); },
                   [&](const ReplaceRegex&) {},
                   [&](const UnicodeForm&) {},
                   [&](const StripSpaces&) {},
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
                   [&](const SplitRegex&) {},
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

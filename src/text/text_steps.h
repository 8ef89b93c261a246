// Runs the normalizers and pre-tokenizers of a tokenizer over a text. Immutable once created; run() is thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"
#include "text/tokenizer_spec.h"

namespace moxie {

// A text in pieces: ranges that follow one another; what lies in no range has been removed.
struct TextPieces {
  struct Range {
    size_t begin, end;
  };
  std::string text;
  std::vector<Range> ranges;
};

class TextSteps {
 public:
  // Errors: unsupported, a pattern that cannot be compiled (names it).
  static Result<TextSteps> create(const std::vector<Normalizer>& normalizers,
                                  const std::vector<PreTokenizer>& pre_tokenizers);
  TextSteps(TextSteps&&) noexcept;
  TextSteps& operator=(TextSteps&&) noexcept;
  ~TextSteps();

  std::string normalize(std::string_view text) const;
  // `first`: the text begins the whole input.
  TextPieces split(std::string text, bool first) const;

  struct Step;  // of the normalizers or pre-tokenizers, with its pattern compiled

 private:
  TextSteps();
  std::vector<std::unique_ptr<Step>> normalizers_, pre_tokenizers_;
};

}  // namespace moxie

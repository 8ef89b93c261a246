// Regular expressions of tokenizers, written for Oniguruma (which Hugging Face uses), run by PCRE2. Immutable once
// compiled and shared by threads; a RegexScan belongs to one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "moxie/error.h"

namespace moxie {

// The same expression in PCRE2's syntax. The two differ in what \s, \w and \h mean, in nested character classes and
// their intersection (&&), in \uHHHH and in the names of scripts. Errors: unsupported, what has no counterpart.
Result<std::string> to_pcre2_syntax(std::string_view pattern);

class Regex {
 public:
  // Errors: unsupported, naming the pattern and where it is not understood.
  static Result<Regex> compile(std::string_view pattern);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

 private:
  friend class RegexScan;
  struct Compiled;
  explicit Regex(std::unique_ptr<Compiled> compiled);
  std::unique_ptr<Compiled> compiled_;
};

// Walks over the matches in a text. A match that costs too much (hostile patterns) ends the walk.
class RegexScan {
 public:
  struct Match {
    size_t begin = 0, end = 0;
  };

  explicit RegexScan(const Regex& regex);
  ~RegexScan();
  // REQUIRES: text is valid UTF-8 and outlives the walk.
  void start(std::string_view text);
  bool next(Match& match);

 private:
  struct Buffers;
  const Regex* regex_;
  std::unique_ptr<Buffers> buffers_;
  std::string_view text_;
  size_t at_ = 0;
  bool done_ = false;
};

}  // namespace moxie

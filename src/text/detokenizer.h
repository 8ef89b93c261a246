// Token ids to text as they come: whole UTF-8 characters only. One per stream; not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace moxie {

class Detokenizer {
 public:
  struct Options {
    bool with_special = false;      // show control tokens
    bool at_start_of_text = false;  // the stream begins a text, so a dummy-prefix space is dropped
  };
  Detokenizer(const Tokenizer& tokenizer, Options options) : tokenizer_(&tokenizer), options_(options) {}

  // The characters that are complete with this token; bytes of an unfinished character wait.
  std::string push(int32_t id);
  // What waits at the end of the stream; bytes that are no UTF-8 become U+FFFD.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  Options options_;
  std::string pending_;
  bool started_ = false;
};

// All ids at once: what a stream of them gives.
std::string decode(const Tokenizer& tokenizer, std::span<const int32_t> ids, Detokenizer::Options options);

// The length of the longest prefix of `text` that ends on a character boundary (invalid bytes count as characters).
size_t complete_utf8_prefix(std::string_view text);
// Replaces every byte that is no valid UTF-8 by U+FFFD.
std::string to_valid_utf8(std::string_view text);

}  // namespace moxie

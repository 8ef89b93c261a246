// Texts of a conversation that must not turn into control tokens: a user who writes "<|im_end|>" ends no turn. Pure
// functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "text/tokenizer.h"

namespace moxie {

class ChatEncoder {
 public:
  explicit ChatEncoder(const Tokenizer& tokenizer);

  // The text with a mark inside every control token written out in it. The mark is a character for private use.
  std::string protect(std::string_view text) const;
  // All texts of a JSON value but the keys.
  Json protect(const Json& value) const;
  // Ids of rendered text: control tokens of the template count, protected ones are text, the marks go. `first`: it
  // begins the context; a BOS that the tokenizer adds and the text lacks comes before it.
  std::vector<int32_t> encode(std::string_view rendered, bool first) const;

 private:
  const Tokenizer* tokenizer_;
  std::vector<std::string> controls_;  // longest first
};

// Without the marks.
std::string unprotected(std::string_view text);

}  // namespace moxie

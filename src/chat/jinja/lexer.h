// A template's text as tokens: what stands outside of tags as data, with the white space taken away that tags ask for.
// As Jinja2 with trim_blocks and lstrip_blocks. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/value.h"
#include "moxie/error.h"

namespace moxie::jinja {

enum class TokenKind {
  data,
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  text,
  integer,
  real,
  op,   // text holds it: "+", "//", "=="
  end,  // of the template
};

struct Token {
  TokenKind kind = TokenKind::end;
  int line = 1;
  std::string text;  // of data, names, texts, operators
  Value number;

  bool is_op(std::string_view wanted) const { return kind == TokenKind::op && text == wanted; }
  bool is_name(std::string_view wanted) const { return kind == TokenKind::name && text == wanted; }
};

// The last token is `end`. Errors: corrupt, with the line.
Result<std::vector<Token>> tokenize(std::string_view source);

// "chat template, line 3: ..." The words are added by everything below that fails at a place.
Error error_at(int line, std::string_view message, ErrorCode code = ErrorCode::corrupt);

}  // namespace moxie::jinja

// The tokens of a template as the parser takes them. Not thread-safe.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "chat/jinja/lexer.h"
#include "core/fail.h"
#include "core/printable.h"

namespace moxie::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  // The current token; the stream moves on. The end stays the end.
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  int line() const { return current().line; }

  bool skip_op(std::string_view op) { return current().is_op(op) && (take(), true); }
  bool skip_name(std::string_view name) { return current().is_name(name) && (take(), true); }

  Result<void> expect(TokenKind kind, std::string_view what) {
    if (current().kind != kind) return unexpected(what);
    take();
    return {};
  }
  Result<void> expect_op(std::string_view op) {
    if (!current().is_op(op)) return unexpected(fmt::format("'{}'", op));
    take();
    return {};
  }
  Result<void> expect_name(std::string_view name) {
    if (!current().is_name(name)) return unexpected(fmt::format("'{}'", name));
    take();
    return {};
  }
  Result<std::string> name() {
    if (current().kind != TokenKind::name) return unexpected("a name");
    return take().text;
  }

  Error unexpected(std::string_view wanted) const {
    return error_at(line(), fmt::format("expected {}, found {}", wanted, describe(current())));
  }
  Error error(std::string_view message) const { return error_at(line(), message); }

  static std::string describe(const Token& token) {
    switch (token.kind) {
      case TokenKind::end:
        return "the end of the template";
      case TokenKind::data:
        return "text";
      case TokenKind::variable_begin:
        return "'{{'";
      case TokenKind::variable_end:
        return "'}}'";
      case TokenKind::block_begin:
        return "'{%'";
      case TokenKind::block_end:
        return "'%}'";
      case TokenKind::text:
        return fmt::format("the text '{}'", printable(token.text));
      case TokenKind::integer:
      case TokenKind::real:
        return "the number " + to_text(token.number);
      case TokenKind::name:
      case TokenKind::op:
        break;
    }
    return fmt::format("'{}'", printable(token.text));
  }

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace moxie::jinja

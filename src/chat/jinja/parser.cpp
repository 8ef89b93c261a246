#include "chat/jinja/parser.h"

#include <algorithm>

#include "chat/jinja/expression_parser.h"

namespace moxie::jinja {

int Names::id(const std::string& name) {
  const auto [found, added] = ids_.emplace(name, static_cast<int>(names_.size()));
  if (added) names_.push_back(name);
  return found->second;
}

int Names::find(std::string_view name) const {
  const auto found = ids_.find(std::string(name));
  return found == ids_.end() ? -1 : found->second;
}

namespace {

using Ends = std::initializer_list<std::string_view>;
using StmtPtr = std::unique_ptr<Stmt>;

class Parser {
 public:
  Parser(std::vector<Token> tokens, Tree& tree)
      : tokens_(std::move(tokens)), tree_(tree), expressions_(tokens_, tree) {}

  Result<void> run() {
    tree_.loop_id = tree_.names.id("loop");
    tree_.caller_id = tree_.names.id("caller");
    tree_.varargs_id = tree_.names.id("varargs");
    tree_.kwargs_id = tree_.names.id("kwargs");
    MOXIE_TRY(tree_.body, body_until({}));
    return {};
  }

 private:
  static StmtPtr make(StmtKind kind, int line) {
    auto made = std::make_unique<Stmt>();
    made->kind = kind;
    made->line = line;
    return made;
  }

  // Statements until one of `ends`, which becomes the current token; without ends until the end of the template.
  Result<Block> body_until(Ends ends) {
    if (++level_ > kTreeDepthMax) {
      return error_at(tokens_.line(), fmt::format("statements nest deeper than {}; use macros", kTreeDepthMax),
                      ErrorCode::unsupported);
    }
    Block body;
    for (;;) {
      const Token& token = tokens_.current();
      if (token.kind == TokenKind::end) break;
      if (token.kind == TokenKind::data) {
        body.push_back(make(StmtKind::text, token.line));
        body.back()->text = tokens_.take().text;
      } else if (token.kind == TokenKind::variable_begin) {
        body.push_back(make(StmtKind::print, tokens_.take().line));
        MOXIE_TRY(body.back()->expr, expressions_.tuple({}));
        MOXIE_TRY_VOID(tokens_.expect(TokenKind::variable_end, "'}}'"));
      } else {
        MOXIE_TRY_VOID(tokens_.expect(TokenKind::block_begin, "'{%'"));
        const Token& tag = tokens_.current();
        if (tag.kind == TokenKind::name && std::find(ends.begin(), ends.end(), tag.text) != ends.end()) {
          --level_;
          return body;
        }
        MOXIE_TRY_VOID(statement(body, ends));
        MOXIE_TRY_VOID(tokens_.expect(TokenKind::block_end, "'%}'"));
      }
    }
    if (ends.size() > 0) return tokens_.error(fmt::format("the template ends before '{}'", fmt::join(ends, "' or '")));
    --level_;
    return body;
  }

  // After the opening tag: "%}", statements, and one of `ends` as the current token.
  Result<Block> rest(Ends ends) {
    tokens_.skip_op(":");
    MOXIE_TRY_VOID(tokens_.expect(TokenKind::block_end, "'%}'"));
    return body_until(ends);
  }
  Result<Block> rest_and_end(std::string_view end) {
    MOXIE_TRY(Block body, rest({end}));
    tokens_.take();
    return body;
  }

  Result<void> statement(Block& body, Ends ends) {
    if (tokens_.current().kind != TokenKind::name) return tokens_.unexpected("the name of a statement");
    using Method = Result<StmtPtr> (Parser::*)();
    static constexpr std::pair<std::string_view, Method> kStatements[] = {
        {"if", &Parser::branch},
        {"for", &Parser::loop},
        {"set", &Parser::set},
        {"macro", &Parser::macro},
        {"call", &Parser::call_block},
        {"filter", &Parser::filter_block},
        {"with", &Parser::with},
        {"block", &Parser::named_block},
        {"generation", &Parser::generation},
        {"break", &Parser::leave_loop},
        {"continue", &Parser::leave_loop},
        {"autoescape", &Parser::autoescape},
    };
    const std::string name = tokens_.current().text;
    if (name == "print") return print(body);
    for (const auto& [known, method] : kStatements) {
      if (name != known) continue;
      MOXIE_TRY(StmtPtr made, (this->*method)());
      body.push_back(std::move(made));
      return {};
    }
    for (const std::string_view other : {"extends", "include", "import", "from"}) {
      if (name == other) {
        return error_at(tokens_.line(), fmt::format("'{}' needs other templates; put their text into this one", name),
                        ErrorCode::unsupported);
      }
    }
    if (ends.size() > 0) {
      return tokens_.error(
          fmt::format("unknown statement '{}'; expected '{}'", printable(name), fmt::join(ends, "' or '")));
    }
    return tokens_.error(fmt::format("unknown statement '{}'", printable(name)));
  }

  Result<void> print(Block& body) {
    tokens_.take();
    bool first = true;
    while (tokens_.current().kind != TokenKind::block_end) {
      if (!first) MOXIE_TRY_VOID(tokens_.expect_op(","));
      first = false;
      body.push_back(make(StmtKind::print, tokens_.line()));
      MOXIE_TRY(body.back()->expr, expressions_.expression());
    }
    return {};
  }

  Result<StmtPtr> branch() {
    StmtPtr made = make(StmtKind::branch, tokens_.take().line);
    for (;;) {
      Branch one;
      MOXIE_TRY(one.test, expressions_.tuple({.condition = false}));
      MOXIE_TRY(one.body, rest({"elif", "else", "endif"}));
      made->branches.push_back(std::move(one));
      const std::string end = tokens_.take().text;
      if (end == "endif") return made;
      if (end == "elif") continue;
      Branch last;
      MOXIE_TRY(last.body, rest_and_end("endif"));
      made->branches.push_back(std::move(last));
      return made;
    }
  }

  Result<StmtPtr> loop() {
    StmtPtr made = make(StmtKind::loop, tokens_.take().line);
    MOXIE_TRY(made->target, expressions_.target(false, "in"));
    if (sets_loop(made->target)) return error_at(made->line, "a loop cannot set 'loop'; use another name");
    MOXIE_TRY_VOID(tokens_.expect_name("in"));
    MOXIE_TRY(made->expr, expressions_.tuple({.condition = false, .stop = "recursive"}));
    if (tokens_.skip_name("if")) {
      MOXIE_TRY(made->test, expressions_.expression());
    }
    made->recursive = tokens_.skip_name("recursive");
    ++loops_;
    MOXIE_TRY(made->body, rest({"endfor", "else"}));
    --loops_;
    if (tokens_.take().text == "else") {
      MOXIE_TRY(made->otherwise, rest_and_end("endfor"));
    }
    return made;
  }

  static bool sets_loop(const Target& target) {
    return target.name == "loop" || std::any_of(target.parts.begin(), target.parts.end(), sets_loop);
  }

  Result<StmtPtr> leave_loop() {
    if (loops_ == 0) return tokens_.error(fmt::format("'{}' stands outside of a loop", tokens_.current().text));
    const Token& token = tokens_.take();
    return make(token.text == "break" ? StmtKind::break_loop : StmtKind::continue_loop, token.line);
  }

  Result<StmtPtr> set() {
    const int line = tokens_.take().line;
    MOXIE_TRY(Target target, expressions_.target(true, ""));
    if (tokens_.skip_op("=")) {
      StmtPtr made = make(StmtKind::set, line);
      made->target = std::move(target);
      MOXIE_TRY(made->expr, expressions_.tuple({}));
      return made;
    }
    StmtPtr made = make(StmtKind::set_block, line);
    made->target = std::move(target);
    MOXIE_TRY(made->expr, expressions_.filters(nullptr, false));
    MOXIE_TRY(made->body, inner_body("endset"));
    return made;
  }

  // A body whose output is caught: no loop around it can be left from within.
  Result<Block> inner_body(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    MOXIE_TRY(Block body, rest_and_end(end));
    loops_ = loops;
    return body;
  }

  Result<void> signature(Signature& to) {
    MOXIE_TRY_VOID(tokens_.expect_op("("));
    while (!tokens_.current().is_op(")")) {
      if (!to.parameters.empty()) MOXIE_TRY_VOID(tokens_.expect_op(","));
      Signature::Parameter parameter;
      MOXIE_TRY(parameter.name, tokens_.name());
      parameter.id = tree_.names.id(parameter.name);
      if (tokens_.skip_op("=")) {
        MOXIE_TRY(parameter.otherwise, expressions_.expression());
      } else if (!to.parameters.empty() && to.parameters.back().otherwise) {
        return tokens_.error("a parameter without a default follows one with a default");
      }
      to.parameters.push_back(std::move(parameter));
    }
    tokens_.take();
    return {};
  }

  // The body of a macro or call block, noting which of the special names it uses.
  Result<void> body_of(Stmt& made, std::string_view end) {
    expressions_.signatures().push_back(made.signature.get());
    MOXIE_TRY(made.body, inner_body(end));
    expressions_.signatures().pop_back();
    return {};
  }

  Result<StmtPtr> macro() {
    StmtPtr made = make(StmtKind::macro, tokens_.take().line);
    made->signature = std::make_unique<Signature>();
    MOXIE_TRY(made->signature->name, tokens_.name());
    made->signature->id = tree_.names.id(made->signature->name);
    MOXIE_TRY_VOID(signature(*made->signature));
    MOXIE_TRY_VOID(body_of(*made, "endmacro"));
    return made;
  }

  Result<StmtPtr> call_block() {
    StmtPtr made = make(StmtKind::call_block, tokens_.take().line);
    made->signature = std::make_unique<Signature>();
    made->signature->name = "caller";
    if (tokens_.current().is_op("(")) MOXIE_TRY_VOID(signature(*made->signature));
    MOXIE_TRY(made->expr, expressions_.expression());
    if (made->expr->kind != ExprKind::call) return error_at(made->line, "'call' wants the call of a macro");
    MOXIE_TRY_VOID(body_of(*made, "endcall"));
    return made;
  }

  Result<StmtPtr> filter_block() {
    StmtPtr made = make(StmtKind::filter_block, tokens_.take().line);
    MOXIE_TRY(made->expr, expressions_.filters(nullptr, true));
    MOXIE_TRY(made->body, inner_body("endfilter"));
    return made;
  }

  Result<StmtPtr> with() {
    StmtPtr made = make(StmtKind::with, tokens_.take().line);
    while (tokens_.current().kind != TokenKind::block_end) {
      if (!made->targets.empty()) MOXIE_TRY_VOID(tokens_.expect_op(","));
      MOXIE_TRY(Target target, expressions_.target(false, ""));
      made->targets.push_back(std::move(target));
      MOXIE_TRY_VOID(tokens_.expect_op("="));
      MOXIE_TRY(ExprPtr value, expressions_.expression());
      made->values.push_back(std::move(value));
    }
    MOXIE_TRY(made->body, rest_and_end("endwith"));
    return made;
  }

  Result<StmtPtr> named_block() {
    StmtPtr made = make(StmtKind::scope, tokens_.take().line);
    MOXIE_TRY(const std::string name, tokens_.name());
    tokens_.skip_name("scoped");
    tokens_.skip_name("required");
    MOXIE_TRY(made->body, inner_body("endblock"));
    tokens_.skip_name(name);
    return made;
  }

  // Marks what the model wrote, for training; it is written like anything else.
  Result<StmtPtr> generation() {
    StmtPtr made = make(StmtKind::scope, tokens_.take().line);
    MOXIE_TRY(made->body, inner_body("endgeneration"));
    return made;
  }

  Result<StmtPtr> autoescape() {
    StmtPtr made = make(StmtKind::scope, tokens_.take().line);
    MOXIE_TRY(const ExprPtr on, expressions_.expression());
    if (on->kind != ExprKind::constant || truth(on->value)) {
      return error_at(made->line, "'autoescape' is for web pages; a chat template's text is plain",
                      ErrorCode::unsupported);
    }
    MOXIE_TRY(made->body, rest_and_end("endautoescape"));
    return made;
  }

  TokenStream tokens_;
  Tree& tree_;
  ExpressionParser expressions_;
  int level_ = 0, loops_ = 0;
};

}  // namespace

Result<Tree> parse(std::string_view source) {
  if (source.size() > kSourceBytesMax) {
    return fail(ErrorCode::unsupported, "the chat template has {} bytes; at most {} are read", source.size(),
                kSourceBytesMax);
  }
  MOXIE_TRY(std::vector<Token> tokens, tokenize(source));
  Tree tree;
  MOXIE_TRY_VOID(Parser(std::move(tokens), tree).run());
  return tree;
}

}  // namespace moxie::jinja

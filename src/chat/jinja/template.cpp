#include "chat/jinja/template.h"

#include "chat/jinja/parser.h"

namespace moxie::jinja {

Result<Template> Template::parse(std::string_view source) {
  MOXIE_TRY(Tree tree, jinja::parse(source));
  return Template(std::make_shared<const Tree>(std::move(tree)));
}

Template::Outcome Template::render(const Value& variables, const std::tm& now, const Limits& limits) const {
  Interpreter interpreter(*tree_, limits, now);
  Result<std::string> text = interpreter.run(variables);
  return {std::move(text), interpreter.refused()};
}

}  // namespace moxie::jinja

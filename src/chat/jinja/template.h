// Jinja templates, as Hugging Face's transformers sets them up: trim_blocks, lstrip_blocks, loop controls, a sandbox
// without methods that change lists and dicts, `raise_exception`, `strftime_now`, `tojson` as json.dumps(). Unlike
// there, work is bounded. A Template is immutable; any number of threads may render it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "chat/jinja/interpreter.h"

namespace moxie::jinja {

class Template {
 public:
  // Errors: corrupt, what is no template, with the line; unsupported, beyond a limit or in need of other templates.
  static Result<Template> parse(std::string_view source);

  struct Outcome {
    Result<std::string> text;
    bool refused = false;  // by the template itself, with raise_exception
  };
  // `variables` is a dict, or undefined for none. Errors: see Interpreter::run; messages begin with the place.
  Outcome render(const Value& variables, const std::tm& now, const Limits& limits = {}) const;
  // Does any part of it use this name?
  bool names(std::string_view name) const { return tree_->names.find(name) >= 0; }

 private:
  explicit Template(std::shared_ptr<const Tree> tree) : tree_(std::move(tree)) {}

  std::shared_ptr<const Tree> tree_;  // shared by copies
};

}  // namespace moxie::jinja

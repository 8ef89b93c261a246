// Chat for the Python module: templates, what a request becomes, and answers taken apart. JSON goes through as text.
#include <pybind11/stl.h>

#include <ctime>

#include "chat/chat_format.h"
#include "chat/chat_template.h"
#include "chat/chat_tokens.h"
#include "native.h"

namespace moxie::python {
namespace {

Json read_json(const std::string& text, std::string_view what) {
  return text.empty() ? Json() : taken(parse_json(text, what));
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

// What a template's text makes of a conversation, without a model.
std::string render_template(const std::string& text, const std::string& bos, const std::string& eos,
                            const std::string& messages, const std::string& tools, const std::string& extra,
                            bool add_generation_prompt) {
  const auto chosen =
      taken(ChatTemplate::choose({}, {.file_text = text, .file = "the template", .bos = bos, .eos = eos}));
  return taken(chosen.render({.messages = read_json(messages, "messages"),
                              .tools = read_json(tools, "tools"),
                              .extra = read_json(extra, "template variables"),
                              .add_generation_prompt = add_generation_prompt},
                             local_time()));
}

// How one model is talked to: its template, or a given one, and the formats of its tools.
class PyChat {
 public:
  // given: see TemplateChoice.
  PyChat(const PyEngine& engine, const std::string& given, bool tools)
      : shared_(engine.share()),
        tokenizer_(&engine.tokenizer()),
        encoder_(*tokenizer_),
        template_(taken(ChatTemplate::choose(shared_->impl().chat_templates, choice(engine, given, tools)))),
        format_(ChatFormat::probe(template_.text(), [this](const ChatInput& input) { return render(input); })) {}

  struct Prompt {
    std::string text;
    std::vector<int32_t> ids;
    ChatPlan plan;
  };
  Prompt prompt(const std::string& messages, const std::string& tools, const std::string& tool_choice,
                std::optional<bool> parallel_tool_calls, const std::string& extra) const {
    const ChatWish wish = {.messages = encoder_.protect(read_json(messages, "messages")),
                           .tools = read_json(tools, "tools"),
                           .tool_choice = read_json(tool_choice, "tool_choice"),
                           .parallel_tool_calls = parallel_tool_calls,
                           .extra = read_json(extra, "template variables")};
    Prompt prompt;
    prompt.plan = taken(format_.plan(wish));
    const std::string rendered = taken(render(prompt.plan.input));
    prompt.ids = encoder_.encode(rendered, true);
    prompt.text = unprotected(rendered);
    return prompt;
  }
  AnswerParserOptions parser(const Prompt& prompt, uint64_t seed) const {
    return format_.parser(prompt.plan, prompt.text, seed);
  }
  std::string structure(const Prompt& prompt, const std::string& json_schema) const {
    return taken(format_.structure(prompt.plan, prompt.text, json_schema));
  }
  bool shows_control() const { return format_.shows_control(); }
  const std::string& text() const { return template_.text(); }
  const std::string& origin() const { return template_.origin(); }

 private:
  static TemplateChoice choice(const PyEngine& engine, const std::string& given, bool tools) {
    const Tokenizer& tokenizer = engine.tokenizer();
    const auto text = [&](int32_t id) { return id >= 0 ? tokenizer.text(id) : std::string(); };
    return {.given = given, .tools = tools, .bos = text(tokenizer.bos()), .eos = text(tokenizer.eos())};
  }
  Result<std::string> render(const ChatInput& input) const { return template_.render(input, local_time()); }

  std::shared_ptr<SharedEngine> shared_;
  const Tokenizer* tokenizer_;
  ChatEncoder encoder_;
  ChatTemplate template_;
  ChatFormat format_;
};

// (kind, text, call, id, name); kinds as AnswerEvent names them.
using Event = std::tuple<std::string, std::string, size_t, std::string, std::string>;

std::vector<Event> to_events(const std::vector<AnswerEvent>& events) {
  static constexpr const char* kKinds[] = {"text", "reasoning", "call_begin", "call_arguments", "call_end"};
  std::vector<Event> out;
  for (const AnswerEvent& event : events) {
    out.emplace_back(kKinds[static_cast<size_t>(event.kind)], event.text, event.call, event.id, event.name);
  }
  return out;
}

class PyAnswerParser {
 public:
  PyAnswerParser(const PyChat& chat, const PyChat::Prompt& prompt, uint64_t seed)
      : parser_(chat.parser(prompt, seed)) {}
  std::vector<Event> feed(std::string_view text) {
    std::vector<AnswerEvent> events;
    parser_.feed(text, events);
    return to_events(events);
  }
  std::vector<Event> finish(bool cut) {
    std::vector<AnswerEvent> events;
    parser_.finish(cut, events);
    return to_events(events);
  }

 private:
  AnswerParser parser_;
};

}  // namespace

void bind_chat(py::module_& module) {
  module.def("render_template", &render_template);
  py::class_<PyChat::Prompt>(module, "ChatPrompt")
      .def_readonly("text", &PyChat::Prompt::text)
      .def_readonly("ids", &PyChat::Prompt::ids)
      .def_property_readonly("can_call", [](const PyChat::Prompt& p) { return !p.plan.tools.empty(); })
      .def_property_readonly("must_call",
                             [](const PyChat::Prompt& p) { return p.plan.choice == ChatPlan::Choice::required; });
  py::class_<PyChat>(module, "Chat")
      .def(py::init<const PyEngine&, const std::string&, bool>())
      .def("prompt", &PyChat::prompt)
      .def("structure", &PyChat::structure)
      .def("shows_control", &PyChat::shows_control)
      .def_property_readonly("template", &PyChat::text)
      .def_property_readonly("origin", &PyChat::origin);
  py::class_<PyAnswerParser>(module, "AnswerParser")
      .def(py::init<const PyChat&, const PyChat::Prompt&, uint64_t>())
      .def("feed", &PyAnswerParser::feed)
      .def("finish", &PyAnswerParser::finish);
}

}  // namespace moxie::python

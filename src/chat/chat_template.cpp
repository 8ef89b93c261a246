#include "chat/chat_template.h"

#include <algorithm>

#include "chat/built_in_templates.h"
#include "core/fail.h"
#include "core/printable.h"

namespace moxie {
namespace {

constexpr std::string_view kToolVariant = "tool_use";

Json text_json(std::string_view text) {
  return Json{std::string(text)};
}

Json message_json(std::string_view role, std::string_view content) {
  return Json{Json::Object{{"role", text_json(role)}, {"content", text_json(content)}}};
}

void add_configured(const Json& config, const std::string& file, std::vector<ModelTemplate>& to) {
  const Json* found = config.find("chat_template");
  if (!found) return;
  if (found->text()) to.push_back({"", *found->text(), file});
  if (!found->array()) return;
  for (const Json& entry : *found->array()) {
    const Json *name = entry.find("name"), *text = entry.find("template");
    if (!name || !name->text() || !text || !text->text()) continue;
    to.push_back({*name->text() == "default" ? "" : *name->text(), *text->text(), file});
  }
}

std::string plain_content(const Json& message) {
  const Json* content = message.find("content");
  if (!content) return {};
  if (content->text()) return *content->text();
  std::string text;
  if (!content->array()) return text;
  for (const Json& part : *content->array()) {
    const Json* piece = part.find("text");
    if (piece && piece->text()) text += *piece->text();
  }
  return text;
}

bool has_role(const Json& message, std::string_view wanted) {
  const Json* role = message.find("role");
  return role && role->text() && *role->text() == wanted;
}

}  // namespace

std::vector<ModelTemplate> model_templates(const TokenizerSource& source) {
  std::vector<ModelTemplate> in_files;  // to tell where one comes from
  if (const auto plain = source.files.find("chat_template.jinja"); plain != source.files.end()) {
    in_files.push_back({"", plain->second, plain->first});
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    const auto file = source.files.find(name);
    if (file == source.files.end()) continue;
    if (const auto config = parse_json(file->second, name); config.ok()) add_configured(*config, name, in_files);
  }
  std::vector<ModelTemplate> found;  // the default, whose name is empty, comes first
  for (const auto& named : source.chat_templates) {
    const auto& name = named.first;  // not bindings: not every compiler captures those
    const auto& text = named.second;
    const auto file = std::find_if(in_files.begin(), in_files.end(),
                                   [&](const ModelTemplate& one) { return one.name == name && one.text == text; });
    std::string origin = name.empty() ? "tokenizer.chat_template" : "tokenizer.chat_template." + name;
    if (file != in_files.end()) {
      origin = file->origin;
    } else if (!source.gguf) {
      origin = fmt::format("additional_chat_templates/{}.jinja", name);
    }
    found.push_back({name, text, std::move(origin)});
  }
  return found;
}

Json fold_system(const Json& messages) {
  if (!messages.array()) return messages;
  std::string system;
  Json::Array rest;
  bool folded = false;
  for (const Json& message : *messages.array()) {
    if (!folded && rest.empty() && (has_role(message, "system") || has_role(message, "developer"))) {
      if (!system.empty()) system += "\n\n";
      system += plain_content(message);
      continue;
    }
    rest.push_back(message);
    if (folded || system.empty() || !has_role(message, "user")) continue;
    folded = true;
    Json::Object changed;
    for (const auto& [key, value] : *message.object()) {
      if (key != "content") {
        changed.push_back({key, value});
      } else if (value.array()) {  // parts: the system's text becomes the first
        Json::Array parts = {Json{Json::Object{{"type", text_json("text")}, {"text", text_json(system + "\n\n")}}}};
        parts.insert(parts.end(), value.array()->begin(), value.array()->end());
        changed.push_back({key, Json{std::move(parts)}});
      } else {
        changed.push_back({key, text_json(system + "\n\n" + plain_content(message))});
      }
    }
    rest.back() = Json{std::move(changed)};
  }
  if (!folded && !system.empty()) rest.insert(rest.begin(), message_json("user", system));
  return Json{std::move(rest)};
}

Result<ChatTemplate> ChatTemplate::choose(std::span<const ModelTemplate> model, const TemplateChoice& choice) {
  const auto variant = [&](std::string_view name) {
    return std::find_if(model.begin(), model.end(), [&](const ModelTemplate& one) { return one.name == name; });
  };
  std::string text, origin;
  const auto take = [&](const ModelTemplate& one) {
    text = one.text;
    origin = one.name.empty() ? one.origin : fmt::format("{} ({})", one.origin, one.name);
  };
  if (!choice.file.empty()) {
    text = choice.file_text;
    origin = choice.file;
  } else if (!choice.given.empty()) {
    if (auto built_in = built_in_template(choice.given)) {
      text = *std::move(built_in);
      origin = "built-in " + choice.given;
    } else if (const auto named = variant(choice.given); named != model.end()) {
      take(*named);
    } else if (choice.given.find('{') != std::string::npos) {
      text = choice.given;
      origin = "--chat-template";
    } else {
      return fail(ErrorCode::invalid_argument,
                  "--chat-template '{}' is neither a template's text nor a known name; the names are {}",
                  printable(choice.given), fmt::join(built_in_template_names(), ", "));
    }
  } else if (const auto tools = variant(kToolVariant); choice.tools && tools != model.end()) {
    take(*tools);
  } else if (const auto plain = variant(""); plain != model.end()) {
    take(*plain);
  } else if (!model.empty()) {
    take(model[0]);
  } else {
    return fail(ErrorCode::not_found, "the model's files bring no chat template; name one with --chat-template");
  }
  auto parsed = jinja::Template::parse(text);
  if (!parsed.ok()) {
    return fail(parsed.error().code, "{}: {}; --chat-template NAME or --chat-template-file FILE gives another", origin,
                parsed.error().message);
  }
  ChatTemplate made(*std::move(parsed), std::move(text), std::move(origin), choice.bos, choice.eos);
  made.probe();
  return made;
}

// Asks once with a text that cannot come from the template itself: is a system message refused, or left out?
void ChatTemplate::probe() {
  constexpr std::string_view kMark = "3f9c1e7a system";
  std::tm now{};
  now.tm_mday = 1;
  ChatInput input;
  input.messages = Json{Json::Array{message_json("user", "x")}};
  if (!render_plain(input, now).text.ok()) return;
  input.messages = Json{Json::Array{message_json("system", kMark), message_json("user", "x")}};
  const auto with = render_plain(input, now);
  folds_system_ = !with.text.ok() || with.text->find(kMark) == std::string::npos;
}

jinja::Template::Outcome ChatTemplate::render_plain(const ChatInput& input, const std::tm& now) const {
  jinja::DictBuilder variables;
  variables.set("messages", jinja::from_json(input.messages));
  variables.set("tools", jinja::from_json(input.tools));
  variables.set("documents", jinja::from_json(input.documents));
  variables.set("add_generation_prompt", input.add_generation_prompt);
  variables.set("bos_token", bos_);
  variables.set("eos_token", eos_);
  if (input.extra.object()) {
    for (const auto& [name, value] : *input.extra.object()) variables.set(name, jinja::from_json(value));
  }
  return template_.render(variables.finish(), now);
}

Result<std::string> ChatTemplate::render(const ChatInput& input, const std::tm& now) const {
  const auto located = [&](const Error& error) { return fail(error.code, "{}: {}", origin_, error.message); };
  if (folds_system_) {
    ChatInput folded = input;
    folded.messages = fold_system(input.messages);
    auto made = render_plain(folded, now);
    if (!made.text.ok()) return located(made.text.error());
    return std::move(made.text);
  }
  auto made = render_plain(input, now);
  if (!made.text.ok()) return located(made.text.error());
  return std::move(made.text);
}

}  // namespace moxie

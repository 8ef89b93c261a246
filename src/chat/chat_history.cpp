#include "chat/chat_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <span>

#include "chat/tool_set.h"
#include "core/xxh64.h"

namespace moxie {
namespace {

constexpr std::string_view kTool = "probe_tool", kKey = "probe_key", kValue = "probe_value", kResult = "probe_result";

Json text(std::string_view value) {
  return Json{std::string(value)};
}

std::string_view text_of(const Json& message, std::string_view key) {
  const Json* value = message.find(key);
  return value && value->text() ? std::string_view(*value->text()) : std::string_view();
}

void set(Json& object, std::string_view key, Json value) {
  auto* members = std::get_if<Json::Object>(&object.value);
  if (!members) return;
  for (JsonMember& member : *members) {
    if (member.key != key) continue;
    member.value = std::move(value);
    return;
  }
  members->push_back({std::string(key), std::move(value)});
}

void erase(Json& object, std::string_view key) {
  if (auto* members = std::get_if<Json::Object>(&object.value)) {
    std::erase_if(*members, [&](const JsonMember& member) { return member.key == key; });
  }
}

Json* find(Json& object, std::string_view key) {
  return const_cast<Json*>(object.find(key));
}

// A message's content as one text.
std::string content_of(const Json& message) {
  const Json* content = message.find("content");
  if (!content || content->is_null()) return {};
  if (content->text()) return *content->text();
  if (!content->array()) return to_text(*content);
  std::string joined;
  for (const Json& part : *content->array()) {
    const std::string_view piece = part.text() ? std::string_view(*part.text()) : text_of(part, "text");
    if (!joined.empty() && !piece.empty()) joined += '\n';
    joined += piece;
  }
  return joined;
}

Json::Array* calls_of(Json& message) {
  Json* calls = find(message, "tool_calls");
  auto* array = calls ? std::get_if<Json::Array>(&calls->value) : nullptr;
  return array && !array->empty() ? array : nullptr;
}

Json message_of(std::string_view role, std::string_view content) {
  return Json{Json::Object{{"role", text(role)}, {"content", text(content)}}};
}

Json in_parts(Json message) {
  Json part{Json::Object{{"type", text("text")}, {"text", text(content_of(message))}}};
  set(message, "content", Json{Json::Array{std::move(part)}});
  return message;
}

// ---- probing ----

Json probe_tools() {
  auto parsed = parse_json(
      R"([{"type":"function","function":{"name":"probe_tool","description":"d","parameters":{"type":"object",)"
      R"("properties":{"probe_key":{"type":"string","description":"d"}},"required":["probe_key"]}}}])",
      "probe");
  if (!parsed.ok()) return {};
  return *std::move(parsed);
}

Json probe_call(bool as_text, bool null_content, std::string_view id) {
  const Json object{Json::Object{{std::string(kKey), text(kValue)}}};
  Json function{Json::Object{{"name", text(kTool)}, {"arguments", object}}};
  if (as_text) set(function, "arguments", text(to_text(object)));
  Json call{Json::Object{{"id", text(id)}, {"type", text("function")}, {"function", std::move(function)}}};
  Json message = message_of("assistant", "");
  if (null_content) set(message, "content", Json());
  set(message, "tool_calls", Json{Json::Array{std::move(call)}});
  return message;
}

Json probe_result(std::string_view id) {
  Json message = message_of("tool", kResult);
  set(message, "tool_call_id", text(id));
  set(message, "name", text(kTool));
  return message;
}

class Prober {
 public:
  explicit Prober(const RenderChat& render) : render_(render) {}

  std::optional<std::string> rendered(Json::Array messages, bool tools = false) const {
    ChatInput input;
    input.messages = Json{std::move(messages)};
    if (tools) input.tools = probe_tools();
    auto text = render_(input);
    if (!text.ok()) return std::nullopt;
    return *std::move(text);
  }
  // It renders, and all of these texts are in it.
  bool shows(Json::Array messages, std::initializer_list<std::string_view> wanted) const {
    const auto text = rendered(std::move(messages));
    return text && std::all_of(wanted.begin(), wanted.end(),
                               [&](std::string_view part) { return text->find(part) != std::string::npos; });
  }
  // A call reads as the template means it: as JSON or in tags, and neither escaped nor as Python prints a dictionary.
  bool writes_call(bool as_text, bool null_content, std::string_view id) const {
    const auto text = rendered({message_of("user", "u"), probe_call(as_text, null_content, id)}, true);
    if (!text || text->find(kValue) == std::string::npos) return false;
    for (const std::string_view bad : {"'probe_key'", "\\\"probe_key", "&#34;probe_key", "&#34;name&#34;"}) {
      if (text->find(bad) != std::string::npos) return false;
    }
    return true;
  }

 private:
  const RenderChat& render_;
};

// ---- normalising ----

// Roles and contents, one by one.
Json plain_message(const Json& message, const HistoryStyle& style) {
  Json made = message;
  const std::string_view role = text_of(message, "role");
  if (role == "developer") set(made, "role", text("system"));
  if (role == "function") set(made, "role", text("tool"));
  set(made, "content", text(content_of(message)));
  const std::string_view reasoning = text_of(message, "reasoning_content");
  if (style.keeps_thinking && !reasoning.empty()) set(made, "thinking", text(reasoning));
  return made;
}

// Ids of calls and their results: present, in the template's form, the same on both sides.
class CallIdRepair {
 public:
  explicit CallIdRepair(CallIds form) : form_(form) {}

  void assistant(Json& message) {
    open_.clear();
    Json::Array* calls = calls_of(message);
    if (!calls) return;
    for (Json& call : *calls) {
      const std::string given(text_of(call, "id"));
      Json* function = find(call, "function");
      const std::string name(function ? text_of(*function, "name") : std::string_view());
      const std::string id = given.empty() ? made_call_id(++made_, 0, 9) : wanted(given);
      set(call, "id", text(id));
      set(call, "type", text("function"));
      open_.push_back({given, id, name});
    }
  }

  void result(Json& message) {
    const std::string_view given = text_of(message, "tool_call_id");
    auto call = std::find_if(open_.begin(), open_.end(), [&](const Open& one) { return one.given == given; });
    if (call == open_.end() && given.empty()) call = open_.begin();  // results come in the order of the calls
    if (call == open_.end()) {
      set(message, "tool_call_id", text(given.empty() ? made_call_id(++made_, 0, 9) : wanted(given)));
      return;
    }
    set(message, "tool_call_id", text(call->id));
    if (text_of(message, "name").empty()) set(message, "name", text(call->name));
    open_.erase(call);
  }

 private:
  struct Open {
    std::string given, id, name;
  };
  // The same foreign id becomes the same id on every turn, or no prompt would share a prefix with the next.
  std::string wanted(std::string_view id) const {
    if (form_ != CallIds::mistral || is_mistral_call_id(id)) return std::string(id);
    return made_call_id(xxh64(std::as_bytes(std::span(id))), 0, 9);
  }

  const CallIds form_;
  std::deque<Open> open_;
  uint64_t made_ = 0;
};

void set_arguments(Json& message, const HistoryStyle& style) {
  Json::Array* calls = calls_of(message);
  if (!calls) return;
  for (Json& call : *calls) {
    Json* function = find(call, "function");
    if (!function || !function->object()) continue;
    const Json* given = function->find("arguments");
    Json arguments{Json::Object{}};
    if (given && !given->is_null()) arguments = *given;
    if (arguments.text() && !style.arguments_as_text) {
      const std::string held = *arguments.text();
      auto parsed = parse_json(held.empty() ? "{}" : held, "arguments");
      if (parsed.ok() && parsed->object()) {
        arguments = *std::move(parsed);
      } else {
        arguments = Json{Json::Object{{"input", text(held)}}};
      }
    } else if (!arguments.text() && style.arguments_as_text) {
      arguments = text(to_text(arguments));
    }
    set(*function, "arguments", std::move(arguments));
  }
  if (style.null_content && content_of(message).empty()) set(message, "content", Json());
}

// For a template without calls: as the described format has them.
void write_calls_as_text(Json& message) {
  Json::Array* calls = calls_of(message);
  if (!calls) return;
  std::string content = content_of(message);
  for (Json& call : *calls) {
    const auto read = call_of_json(call);
    if (!read) continue;
    if (!content.empty()) content += '\n';
    content +=
        fmt::format(R"({{"tool_call": {{"name": {}, "arguments": {}}}}})", to_text(Json{read->name}), read->arguments);
  }
  set(message, "content", text(content));
  erase(message, "tool_calls");
}

void write_result_as_text(Json& message) {
  const std::string name(text_of(message, "name"));
  message = message_of("user", fmt::format("Result of {}:\n{}", name.empty() ? "the call" : name, content_of(message)));
}

void join(Json& first, const Json& second) {
  std::string content = content_of(first);
  const std::string more = content_of(second);
  if (!content.empty() && !more.empty()) content += "\n\n";
  set(first, "content", text(content + more));
  const Json* calls = second.find("tool_calls");
  if (!calls || !calls->array()) return;
  Json::Array all;
  if (const Json* earlier = first.find("tool_calls"); earlier && earlier->array()) all = *earlier->array();
  all.insert(all.end(), calls->array()->begin(), calls->array()->end());
  set(first, "tool_calls", Json{std::move(all)});
}

// Calls made at once, as if they had been made one after another: each followed by its result.
Json::Array one_call_a_turn(Json::Array messages) {
  Json::Array made;
  for (size_t i = 0; i < messages.size(); ++i) {
    Json::Array* calls = calls_of(messages[i]);
    if (!calls || calls->size() == 1) {
      made.push_back(std::move(messages[i]));
      continue;
    }
    size_t end = i + 1;
    while (end < messages.size() && text_of(messages[end], "role") == "tool") ++end;
    std::vector<bool> used(end, false);
    for (size_t c = 0; c < calls->size(); ++c) {
      Json turn = messages[i];
      if (c > 0) set(turn, "content", text(""));
      set(turn, "tool_calls", Json{Json::Array{(*calls)[c]}});
      made.push_back(std::move(turn));
      for (size_t r = i + 1; r < end; ++r) {
        if (used[r] || text_of(messages[r], "tool_call_id") != text_of((*calls)[c], "id")) continue;
        used[r] = true;
        made.push_back(messages[r]);
        break;
      }
    }
    for (size_t r = i + 1; r < end; ++r) {
      if (!used[r]) made.push_back(messages[r]);
    }
    i = end - 1;
  }
  return made;
}

// Roles in the order that the template takes.
Json::Array ordered(Json::Array messages, const HistoryStyle& style) {
  Json::Array made;
  bool any_turn = false;
  for (Json& message : messages) {
    std::string role(text_of(message, "role"));
    if (role == "system" && any_turn && !style.takes_late_system) {
      role = "user";
      set(message, "role", text(role));
    }
    const std::string_view before = made.empty() ? std::string_view() : text_of(made.back(), "role");
    if (role == "system") {
      if (before == "system" && !any_turn) {
        join(made.back(), message);
      } else {
        made.push_back(std::move(message));
      }
      continue;
    }
    if (!any_turn && role == "assistant" && !style.takes_answer_first) made.push_back(message_of("user", "..."));
    any_turn = true;
    const bool again = role == before && (role == "user" || role == "assistant");
    if (again && !style.takes_any_order) {
      join(made.back(), message);
    } else {
      made.push_back(std::move(message));
    }
  }
  return made;
}

}  // namespace

HistoryStyle probe_history(const RenderChat& render) {
  const Prober prober(render);
  HistoryStyle style;
  if (!prober.rendered({message_of("user", "u")})) return style;  // it wants more than messages: nothing can be told
  style.content_in_parts = !prober.shows({message_of("user", kValue)}, {kValue}) &&
                           prober.shows({in_parts(message_of("user", kValue))}, {kValue});
  if (style.content_in_parts) {
    style.takes_calls = style.takes_results = style.shows_tools = style.takes_any_order = false;
    style.takes_answer_first = style.takes_late_system = false;
    return style;
  }
  const auto with_tools = prober.rendered({message_of("user", "u")}, true);
  style.shows_tools = with_tools && with_tools->find(kTool) != std::string::npos;

  constexpr std::string_view kShortId = "abcdef123", kLongId = "call_0123456789abcdef";
  style.takes_calls = false;
  std::string_view id = kLongId;
  for (const std::string_view one : {kLongId, kShortId}) {
    for (const bool null_content : {false, true}) {
      for (const bool as_text : {false, true}) {
        if (style.takes_calls || !prober.writes_call(as_text, null_content, one)) continue;
        style.takes_calls = true;
        style.arguments_as_text = as_text;
        style.null_content = null_content;
        id = one;
      }
    }
  }
  if (id == kShortId) style.ids = CallIds::mistral;
  const Json call = probe_call(style.arguments_as_text, style.null_content, id);
  style.takes_results = style.takes_calls && prober.shows({message_of("user", "u"), call, probe_result(id)}, {kResult});
  Json several = call;
  if (Json::Array* calls = calls_of(several)) {
    Json second = (*calls)[0];
    const std::string other = "other_" + std::string(kTool);
    if (Json* function = find(second, "function")) set(*function, "name", text(other));
    calls->push_back(std::move(second));
    style.takes_several = prober.shows({message_of("user", "u"), several}, {other});
  }
  style.takes_any_order = prober.shows({message_of("user", "first_part"), message_of("user", "second_part")},
                                       {"first_part", "second_part"});
  style.takes_answer_first = prober.shows({message_of("assistant", "first_part"), message_of("user", "second_part")},
                                          {"first_part", "second_part"});
  const Json::Array late = {message_of("user", "first_part"), message_of("assistant", "a"),
                            message_of("system", "second_part"), message_of("user", "v")};
  style.takes_late_system = prober.shows(late, {"first_part", "second_part"});
  return style;
}

Json normalised_messages(const Json& messages, const HistoryStyle& style) {
  if (!messages.array()) return messages;
  Json::Array made;
  CallIdRepair ids(style.ids);
  for (const Json& given : *messages.array()) {
    if (!given.object()) return messages;
    Json message = plain_message(given, style);
    const std::string_view role = text_of(message, "role");
    if (role == "assistant") {
      if (!calls_of(message)) erase(message, "tool_calls");
      ids.assistant(message);
      style.takes_calls ? set_arguments(message, style) : write_calls_as_text(message);
    } else if (role == "tool") {
      ids.result(message);
      if (!style.takes_results) write_result_as_text(message);
    }
    made.push_back(std::move(message));
  }
  if (style.takes_calls && !style.takes_several) made = one_call_a_turn(std::move(made));
  made = ordered(std::move(made), style);
  if (style.content_in_parts) {
    for (Json& message : made) message = in_parts(std::move(message));
  }
  return Json{std::move(made)};
}

size_t count_calls(const Json& messages) {
  size_t count = 0;
  if (!messages.array()) return count;
  for (const Json& message : *messages.array()) {
    const Json* calls = message.find("tool_calls");
    if (calls && calls->array()) count += calls->array()->size();
  }
  return count;
}

}  // namespace moxie

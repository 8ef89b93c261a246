#include "cli/chat_session.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/expert_picture.h"
#include "cli/flags.h"
#include "core/fail.h"
#include "core/json.h"
#include "core/printable.h"
#include "core/terminal.h"
#include "sample/chain.h"

namespace moxie::cli {
namespace {

constexpr std::string_view kBlock = "\"\"\"";  // begins and ends a message of several lines

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1));
}

}  // namespace

std::string conversation_json(const Conversation& conversation) {
  nlohmann::ordered_json object = {{"system", conversation.system()}, {"messages", nlohmann::ordered_json::array()}};
  for (const auto& [role, content] : conversation.messages()) {
    object["messages"].push_back({{"role", role}, {"content", content}});
  }
  return object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<void> read_conversation(std::string_view json, const std::string& file, Conversation& to) {
  MOXIE_TRY(const Json parsed, parse_json(json, file));
  const Json* list = parsed.array() ? &parsed : parsed.find("messages");
  if (!list || !list->array()) {
    return fail(ErrorCode::corrupt, "{}: has no list \"messages\"; /save writes such files", file);
  }
  std::string system;
  if (const Json* text = parsed.object() ? parsed.find("system") : nullptr; text && text->text())
    system = *text->text();
  std::vector<SaidMessage> messages;
  for (const Json& entry : *list->array()) {
    const Json *role = entry.find("role"), *content = entry.find("content");
    if (!role || !role->text() || !content || !content->text()) {
      return fail(ErrorCode::corrupt, "{}: message {} has no \"role\" and \"content\" that are texts", file,
                  messages.size() + 1);
    }
    if (*role->text() == "system") {
      system = *content->text();
    } else {
      messages.push_back({*role->text(), *content->text()});
    }
  }
  to.set_system(std::move(system));
  to.set_messages(std::move(messages));
  return {};
}

ChatSession::ChatSession(Session& session, GenerateOptions& generate, FlagSet& settable, ChatOptions options)
    : session_(session),
      generate_(generate),
      settable_(settable),
      options_(std::move(options)),
      reader_(is_terminal(StandardStream::input) && is_terminal(StandardStream::output), options_.history_file),
      terminal_(is_terminal(StandardStream::input)) {}

Result<void> ChatSession::open() {
  MOXIE_TRY(conversation_, Conversation::create(session_.engine(), options_.conversation));
  note(fmt::format(
      "conversation in {} form ({}){}; end it with Ctrl-D{}", conversation_->form(), conversation_->why(),
      conversation_->folds_system() ? ", which has no place for a system text: it goes before the first message" : "",
      options_.commands ? ", /help lists the commands" : ""));
  if (!options_.load.empty()) MOXIE_TRY_VOID(load(options_.load));
  return {};
}

Result<int> ChatSession::run() {
  MOXIE_TRY_VOID(open());
  std::optional<std::string> message = std::move(options_.first);
  Next next = Next::go_on;
  if (message) {
    MOXIE_TRY(next, answer(*message));
  }
  while (next == Next::go_on) {
    message = read_message();
    if (!message) break;
    MOXIE_TRY(next, take(*message));
  }
  MOXIE_TRY_VOID(session_.end_line());
  if (!options_.save.empty()) MOXIE_TRY_VOID(save(options_.save));
  return 0;
}

std::optional<std::string> ChatSession::read_line(bool continued) {
  const std::string prompt = !terminal_ ? "" : continued ? ". " : "> ";
  if (reader_.edits()) return reader_.read(prompt);
  if (!prompt.empty() && !session_.show(prompt, Colour::user).ok()) return std::nullopt;
  session_.interruption().set_waiting(true);
  auto line = reader_.read("");
  session_.interruption().set_waiting(false);
  return line;
}

// A line; lines between """ and """; lines that end with "\"; with --multiline-input lines until one ends with "\".
std::optional<std::string> ChatSession::read_message() {
  std::optional<std::string> line = read_line(false);
  if (!line) return std::nullopt;
  std::string text;
  if (line->starts_with(kBlock)) {
    line->erase(0, kBlock.size());
    for (;;) {
      if (line->ends_with(kBlock)) return text + line->substr(0, line->size() - kBlock.size());
      text += *line + '\n';
      line = read_line(true);
      if (!line) return text;
    }
  }
  if (options_.commands && line->starts_with('/')) return line;
  for (;;) {
    const bool marked = line->ends_with('\\');
    if (marked) line->pop_back();
    text += *line;
    if (marked == options_.multiline) return text;
    text += '\n';
    line = read_line(true);
    if (!line) return text;
  }
}

Result<ChatSession::Next> ChatSession::take(const std::string& text) {
  if (options_.commands && text.starts_with('/')) return command(text);
  if (text.empty()) return Next::go_on;
  return answer(text);
}

Result<bool> ChatSession::make_room(std::vector<int32_t>& next) {
  const size_t room = static_cast<size_t>(session_.engine().runtime().context_tokens);
  const std::span<const int32_t> present = session_.sequence().ids();
  if (present.size() + next.size() < room) return true;
  if (!generate_.context_shift || next.size() >= room) return false;
  // The older half goes, and what stays is put before the new part, to be computed again at its new place.
  const size_t keep = std::min(static_cast<size_t>(std::max<int64_t>(generate_.keep, 0)), room - next.size() - 1);
  const size_t stays = std::min((present.size() - std::min(keep, present.size())) / 2, room - next.size() - 1 - keep);
  next.insert(next.begin(), present.end() - static_cast<std::ptrdiff_t>(stays), present.end());
  MOXIE_TRY_VOID(session_.sequence().truncate(static_cast<int64_t>(std::min(keep, present.size()))));
  return true;
}

// Takes a stop text, which the model wrote and the answer leaves out, from the context too.
Result<void> ChatSession::forget_stop_text(const GenerateResult& result, size_t before) {
  size_t kept = result.ids.size();
  const auto size_of = [&](size_t count) {
    return session_.engine().detokenize(std::span(result.ids).first(count)).size();
  };
  while (kept > 0 && size_of(kept - 1) >= result.text.size()) --kept;
  const size_t tokens = std::min(before + kept, session_.sequence().ids().size());
  return session_.sequence().truncate(static_cast<int64_t>(tokens));
}

Result<ChatSession::Next> ChatSession::answer(const std::string& text) {
  auto turn = conversation_->say(text, session_.sequence().ids());
  if (!turn.ok()) {
    if (!terminal_) return turn.error();
    note(turn.error().message);
    return Next::go_on;
  }
  const auto full = [&]() -> Result<Next> {
    MOXIE_TRY_VOID(session_.end_line());
    note(fmt::format(
        "the context of {} tokens is full; -c N gives more, --context-shift forgets the older half and goes on{}",
        session_.engine().runtime().context_tokens, terminal_ && options_.commands ? ", /reset begins anew" : ""));
    return terminal_ && options_.commands ? Next::go_on : Next::leave;
  };
  MOXIE_TRY_VOID(session_.sequence().truncate(turn->keep));
  MOXIE_TRY(const bool fits, make_room(turn->ids));
  if (!fits) return full();
  GenerateOptions options = generate_;
  for (std::string& stop : conversation_->stops()) options.stop.push_back(std::move(stop));
  const size_t before = session_.sequence().ids().size() + turn->ids.size();
  MOXIE_TRY(const GenerateResult result, session_.generate(turn->ids, options));
  MOXIE_TRY_VOID(session_.end_line());
  session_.interruption().clear();  // a Ctrl-C has ended the answer, not the conversation
  if (result.reason == StopReason::cancelled && result.ids.empty()) {
    MOXIE_TRY_VOID(session_.sequence().truncate(
        std::min<int64_t>(turn->keep, static_cast<int64_t>(session_.sequence().ids().size()))));
    note("stopped before the answer began; the message is forgotten");
    return options_.single_turn ? Next::leave : Next::go_on;
  }
  if (result.reason == StopReason::stop_text) MOXIE_TRY_VOID(forget_stop_text(result, before));
  conversation_->answered(result.text, result.reason != StopReason::cancelled);
  if (result.reason == StopReason::context_full) return full();
  return options_.single_turn ? Next::leave : Next::go_on;
}

Result<ChatSession::Next> ChatSession::command(const std::string& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string name = line.substr(1, end - 1), argument = trimmed(std::string_view(line).substr(end));
  if (name == "exit" || name == "quit" || name == "bye") return Next::leave;
  static constexpr std::pair<std::string_view, Result<void> (ChatSession::*)(const std::string&)> kCommands[] = {
      {"reset", &ChatSession::reset},     {"save", &ChatSession::save}, {"load", &ChatSession::load},
      {"system", &ChatSession::system},   {"set", &ChatSession::set},   {"stats", &ChatSession::stats},
      {"experts", &ChatSession::experts}, {"help", &ChatSession::help},
  };
  for (const auto& [known, run] : kCommands) {
    if (name != known) continue;
    // What is wrong with a command is said, and the conversation goes on.
    if (auto done = (this->*run)(argument); !done.ok()) note(done.error().message);
    return Next::go_on;
  }
  note(fmt::format("there is no command /{}; /help lists them", printable(name)));
  return Next::go_on;
}

Result<void> ChatSession::help(const std::string&) {
  return print(
      "/reset               begin a new conversation; the system text stays\n"
      "/save FILE           write the conversation to FILE\n"
      "/load FILE           go on with the conversation in FILE\n"
      "/system [TEXT]       show how the model is told to behave, or tell it anew\n"
      "/set NAME VALUE      change a setting for the next answers: /set temp 0\n"
      "/stats               figures of this session\n"
      "/experts             which experts answered\n"
      "/exit                leave, as Ctrl-D\n"
      "A line that ends with \\ goes on in the next one; \"\"\" begins and ends a message of several lines.\n"
      "Ctrl-C stops an answer.\n");
}

Result<void> ChatSession::reset(const std::string&) {
  conversation_->set_messages({});
  note("a new conversation");
  return {};
}

Result<void> ChatSession::save(const std::string& argument) {
  if (argument.empty()) return fail(ErrorCode::invalid_argument, "/save wants a file: /save FILE");
  MOXIE_TRY_VOID(write_text(argument, conversation_json(*conversation_)));
  note(fmt::format("{} messages written to '{}'", conversation_->messages().size(), printable(argument)));
  return {};
}

Result<void> ChatSession::load(const std::string& argument) {
  if (argument.empty()) return fail(ErrorCode::invalid_argument, "/load wants a file: /load FILE");
  MOXIE_TRY(const std::string text, read_text(argument));
  MOXIE_TRY_VOID(read_conversation(text, argument, *conversation_));
  note(fmt::format("{} messages read from '{}'", conversation_->messages().size(), printable(argument)));
  return {};
}

Result<void> ChatSession::system(const std::string& argument) {
  if (argument.empty())
    return print(conversation_->system().empty() ? "(no system text)\n" : conversation_->system() + "\n");
  conversation_->set_system(argument);
  return {};
}

Result<void> ChatSession::set(const std::string& argument) {
  const size_t end = std::min(argument.find_first_of(" ="), argument.size());
  const std::string flag = "--" + argument.substr(0, end),
                    value = trimmed(std::string_view(argument).substr(std::min(end + 1, argument.size())));
  const FlagSpec* spec = find_flag(flag);
  const bool known = spec && settable_.has(spec->name) && spec->name != "stop" && spec->name != "reverse-prompt";
  if (!known || (value.empty() && !spec->value.empty())) {
    return fail(
        ErrorCode::invalid_argument,
        "/set wants the name of a sampling or length flag and a value: /set temp 0.7; moxie help chat lists them");
  }
  std::vector<std::string> arguments = {flag};
  if (!spec->value.empty()) arguments.push_back(value);
  MOXIE_TRY(const RewrittenFlags rewritten, rewrite_flags(arguments));
  const GenerateOptions before = generate_;
  auto parsed = settable_.parse("chat", rewritten.arguments);
  if (parsed.ok()) parsed = check_sampling_options(generate_.sampling);
  if (!parsed.ok()) generate_ = before;
  return parsed;
}

Result<void> ChatSession::stats(const std::string&) {
  const size_t used = session_.sequence().ids().size();
  MOXIE_TRY_VOID(print(fmt::format("context: {} of {} tokens, {} messages\n", used,
                                   session_.engine().runtime().context_tokens, conversation_->messages().size())));
  return print(stats_text(session_.stats(), StatsForm::text));
}

Result<void> ChatSession::experts(const std::string&) {
  const PictureStyle style{.columns = std::max(terminal_columns(StandardStream::output), 40), .rows = 80};
  const auto lines = expert_picture(session_.engine().expert_heat(), {}, style);
  if (lines.empty()) return print("this model has no experts\n");
  return print(fmt::format("{}\n", fmt::join(lines, "\n")));
}

}  // namespace moxie::cli

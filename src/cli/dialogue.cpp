#include "cli/dialogue.h"

#include <iostream>

#include "cli/console.h"
#include "core/fail.h"
#include "core/terminal.h"

namespace moxie::cli {

std::optional<std::string> read_user_text(Session& session, bool multiline) {
  std::string text, line;
  session.interruption().set_waiting(true);
  bool any = false;
  while (std::getline(std::cin, line)) {
    any = true;
    line_was_ended();
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const bool marked = !line.empty() && line.back() == '\\';
    if (marked) line.pop_back();
    text += line;
    if (marked == multiline) break;
    text += '\n';
  }
  session.interruption().set_waiting(false);
  if (!any) return std::nullopt;
  return text;
}

namespace {

Result<void> say_full(Session& session) {
  MOXIE_TRY_VOID(session.end_line());
  note(fmt::format(
      "the context of {} tokens is full; -c N gives more, --context-shift forgets the older half and goes on",
      session.engine().runtime().context_tokens));
  return {};
}

// Makes `next` fit behind what is in the context, with room for an answer. With --context-shift the older half goes,
// and what stays is put before `next`, to be computed again at its new place. False: it does not fit.
Result<bool> make_room(Session& session, const GenerateOptions& options, std::vector<int32_t>& next) {
  const size_t room = static_cast<size_t>(session.engine().runtime().context_tokens);
  const std::span<const int32_t> present = session.sequence().ids();
  if (present.size() + next.size() < room) return true;
  if (!options.context_shift || next.size() >= room) return false;
  const size_t keep = std::min(static_cast<size_t>(std::max<int64_t>(options.keep, 0)), room - next.size() - 1);
  const size_t stays = std::min((present.size() - std::min(keep, present.size())) / 2, room - next.size() - 1 - keep);
  next.insert(next.begin(), present.end() - static_cast<std::ptrdiff_t>(stays), present.end());
  MOXIE_TRY_VOID(session.sequence().truncate(static_cast<int64_t>(std::min(keep, present.size()))));
  return true;
}

}  // namespace

Result<int> run_interactive(Session& session, std::span<const int32_t> prompt, const DialogueOptions& options) {
  const Engine& engine = session.engine();
  std::vector<int32_t> next(prompt.begin(), prompt.end());
  const bool terminal = is_terminal(StandardStream::input);
  bool answer = !options.user_first;
  for (;;) {
    if (answer) {
      MOXIE_TRY(const bool fits, make_room(session, options.generate, next));
      if (!fits) {
        MOXIE_TRY_VOID(say_full(session));
        return 0;
      }
      MOXIE_TRY(const GenerateResult result, session.generate(next, options.generate));
      next.clear();
      if (result.reason == StopReason::cancelled) session.interruption().clear();
      if (result.reason == StopReason::context_full) {
        MOXIE_TRY_VOID(say_full(session));
        return 0;
      }
      if (options.single_turn) break;
      // A stop text is where the user takes over; the model said it, and the answer leaves it out.
      if (result.reason == StopReason::stop_text && options.generate.stop.size() == 1) {
        MOXIE_TRY_VOID(session.show(options.generate.stop[0], Colour::normal));
      }
    }
    answer = true;
    // On a terminal the user goes on in the same line; the end of it is the user's own.
    MOXIE_TRY_VOID(terminal ? session.show(options.in_prefix, Colour::user) : session.end_line());
    const auto text = read_user_text(session, options.multiline);
    if (!text) break;
    MOXIE_TRY(const auto more, engine.tokenize(options.in_prefix + *text + "\n" + options.in_suffix, false, true));
    if (options.in_prefix_bos && engine.bos() >= 0) next.push_back(engine.bos());
    next.insert(next.end(), more.begin(), more.end());
  }
  MOXIE_TRY_VOID(session.end_line());
  return 0;
}

}  // namespace moxie::cli

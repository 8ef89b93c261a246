#include "cli/dialogue.h"

#include <iostream>

#include "core/fail.h"
#include "core/terminal.h"

namespace moxie::cli {

std::optional<std::string> read_user_text(Session& session, bool multiline) {
  std::string text, line;
  session.interruption().set_waiting(true);
  bool any = false;
  while (std::getline(std::cin, line)) {
    any = true;
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

Result<int> run_interactive(Session& session, std::span<const int32_t> prompt, const DialogueOptions& options) {
  const Engine& engine = session.engine();
  std::vector<int32_t> next(prompt.begin(), prompt.end());
  const bool terminal = is_terminal(StandardStream::input);
  bool answer = !options.user_first;
  for (;;) {
    if (answer) {
      MOXIE_TRY(const GenerateResult result, session.generate(next, options.generate));
      next.clear();
      if (result.reason == StopReason::cancelled) session.interruption().clear();
      if (result.reason == StopReason::context_full) {
        MOXIE_TRY_VOID(session.end_line());
        note(fmt::format("the context of {} tokens is full; -c N gives more, --context-shift forgets the older half",
                         engine.runtime().context_tokens));
        return 0;
      }
      if (options.single_turn) break;
      // A stop text is where the user takes over; the model said it, and the answer leaves it out.
      if (result.reason == StopReason::stop_text && options.generate.stop.size() == 1) {
        MOXIE_TRY_VOID(session.show(options.generate.stop[0], Colour::normal));
      }
    }
    answer = true;
    if (terminal) MOXIE_TRY_VOID(session.show(options.in_prefix, Colour::user));
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

#include "cli/chat_options.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/dialogue.h"
#include "cli/generate_options.h"
#include "cli/model_options.h"
#include "cli/session.h"
#include "cli/stats.h"
#include "core/fail.h"
#include "core/terminal.h"
#include "sample/chain.h"

namespace moxie::cli::commands {
namespace {

class Run final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_flags(flags);
    prompt_.add_flags(flags);
    generate_.add_flags(flags);
    add_output_flags(flags);
    add_dialogue_flags(flags);
    add_sampling_flags(flags, generate_.options.sampling);
  }

  Result<int> run() override {
    if (chat_.any() && !conversation_) {
      return fail(ErrorCode::invalid_argument, "{} is for a conversation; add --conversation",
                  chat_.system.empty() ? "a chat template" : "--system-prompt");
    }
    MOXIE_TRY_VOID(chat_.settle());
    MOXIE_TRY_VOID(check_sampling_options(generate_.options.sampling));
    for (const auto* texts : {&generate_.stops, &generate_.reverse_prompts}) {
      for (const std::string& text : *texts) {
        if (!text.empty()) generate_.options.stop.push_back(prompt_.unescaped(text));
      }
    }
    Session session;
    session.set_colour(colour_ != "off" && is_terminal(StandardStream::output));
    MOXIE_TRY_VOID(session.open(model_));
    const auto status = conversation_ ? converse(session) : interactive_ ? interact(session) : complete(session);
    session.end_watch();
    // What was generated is counted even when it ended badly.
    if (status.ok()) diagnose(stats_text(session.stats(), stats_));
    return status;
  }

 private:
  void add_output_flags(FlagSet& flags) {
    flags.group("output");
    flags.toggle("display-prompt", display_prompt_);
    flags.toggle("no-display-prompt", display_prompt_, false);
    flags.add("color", colour_);
    add_stats_flags(flags, stats_);
    flags.toggle("verbose-prompt", verbose_prompt_);
  }

  void add_dialogue_flags(FlagSet& flags) {
    flags.group("interaction");
    flags.toggle("interactive", interactive_);
    flags.on("interactive-first", [this](const std::string&) -> Result<void> {
      interactive_ = dialogue_.user_first = true;
      return {};
    });
    flags.toggle("conversation", conversation_);
    flags.toggle("no-conversation", conversation_, false);
    flags.toggle("instruct", conversation_);
    chat_.add_flags(flags);
    flags.add("in-prefix", dialogue_.in_prefix);
    flags.add("in-suffix", dialogue_.in_suffix);
    flags.toggle("in-prefix-bos", dialogue_.in_prefix_bos);
    flags.toggle("multiline-input", dialogue_.multiline);
    flags.toggle("single-turn", dialogue_.single_turn);
  }

  Result<std::vector<int32_t>> prompt_of(Session& session) {
    MOXIE_TRY(auto ids, prompt_ids(session.engine(), prompt_, true, true));
    if (generate_.options.keep < 0) generate_.options.keep = static_cast<int64_t>(ids.size());
    if (verbose_prompt_) note(fmt::format("prompt of {} tokens: {}", ids.size(), fmt::join(ids, ",")));
    if (display_prompt_) MOXIE_TRY_VOID(session.show(session.engine().detokenize(ids), Colour::prompt));
    return ids;
  }

  Result<int> complete(Session& session) {
    MOXIE_TRY(const auto ids, prompt_of(session));
    MOXIE_TRY(const GenerateResult result, session.generate(ids, generate_.options));
    MOXIE_TRY_VOID(session.end_line());
    if (result.reason == StopReason::context_full) {
      note(fmt::format(
          "the context of {} tokens is full; -c N gives more, --context-shift forgets the older half and goes on",
          session.engine().runtime().context_tokens));
    }
    return result.reason == StopReason::cancelled ? exit_code(ErrorCode::cancelled) : 0;
  }

  Result<int> interact(Session& session) {
    prompt_.stdin_is_prompt = false;
    if (!prompt_.any()) dialogue_.user_first = true;
    MOXIE_TRY(const auto ids, prompt_of(session));
    dialogue_.generate = generate_.options;
    dialogue_.in_prefix = prompt_.unescaped(dialogue_.in_prefix);
    dialogue_.in_suffix = prompt_.unescaped(dialogue_.in_suffix);
    return run_interactive(session, ids, dialogue_);
  }

  Result<int> converse(Session& session) {
    if (!prompt_.ids.empty())
      return fail(ErrorCode::invalid_argument, "--ids is no message of a conversation; give -p or -f");
    prompt_.stdin_is_prompt = false;
    std::optional<std::string> first;
    if (prompt_.any()) {
      MOXIE_TRY(first, prompt_.read());
    }
    chat_.options.first = first;
    chat_.options.multiline = dialogue_.multiline;
    chat_.options.single_turn = dialogue_.single_turn;
    chat_.options.commands = false;
    FlagSet settable;
    return ChatSession(session, generate_.options, settable, chat_.options).run();
  }

  ModelOptions model_;
  PromptOptions prompt_;
  GenerateFlags generate_;
  DialogueOptions dialogue_;
  ChatFlags chat_;
  StatsForm stats_ = StatsForm::text;
  std::string colour_ = "off";
  bool display_prompt_ = false, verbose_prompt_ = false, interactive_ = false, conversation_ = false;
};

}  // namespace

extern const CommandEntry run = {
    .name = "run",
    .summary = "complete a prompt and print the text as it comes",
    .usage = "[MODEL] [-p TEXT | -f FILE | --ids 1,2,3] [-n N]",
    .detail =
        "The prompt is -p, -f or what stands on standard input; without any, the text begins from nothing. The answer alone goes to\n"
        "stdout. Ctrl-C ends the answer, a second one the program.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Run>(); },
};

}  // namespace moxie::cli::commands

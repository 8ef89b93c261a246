#include "cli/chat_options.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/generate_options.h"
#include "cli/model_options.h"
#include "cli/session.h"
#include "cli/stats.h"
#include "core/fail.h"
#include "core/terminal.h"
#include "sample/chain.h"

namespace moxie::cli::commands {
namespace {

class Chat final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_flags(flags);
    flags.group("conversation");
    flags.add("prompt", first_, "the first message; without it the program asks for one");
    chat_.add_flags(flags);
    bool& multiline = chat_.options.multiline;
    flags.toggle("multiline-input", multiline);
    flags.toggle("single-turn", chat_.options.single_turn);
    flags.add("load", chat_.options.load);
    flags.add("save", chat_.options.save);
    flags.toggle("interactive", ignored_, true, "a conversation is interactive anyway");
    flags.toggle("instruct", ignored_, true, "a conversation has the model's own form anyway");
    flags.toggle("conversation", ignored_, true, "this is one");
    generate_.add_flags(flags);
    flags.group("output");
    flags.add("color", colour_);
    add_stats_flags(flags, stats_);
    add_sampling_flags(flags, generate_.options.sampling);
  }

  Result<int> run() override {
    MOXIE_TRY_VOID(check_sampling_options(generate_.options.sampling));
    for (const auto* texts : {&generate_.stops, &generate_.reverse_prompts}) {
      for (const std::string& text : *texts) {
        if (!text.empty()) generate_.options.stop.push_back(resolve_escapes(text));
      }
    }
    MOXIE_TRY_VOID(chat_.settle());
    if (!first_.empty()) chat_.options.first = resolve_escapes(first_);
    Session session;
    session.set_colour(colour_ != "off" && is_terminal(StandardStream::output));
    MOXIE_TRY_VOID(session.open(model_));
    if (!model_.engine.cache_folder.empty()) chat_.options.history_file = model_.engine.cache_folder + "/chat_history";
    FlagSet settable;
    generate_.add_flags(settable);
    add_sampling_flags(settable, generate_.options.sampling);
    const auto status = ChatSession(session, generate_.options, settable, chat_.options).run();
    session.end_watch();
    if (status.ok()) diagnose(stats_text(session.stats(), stats_));
    return status;
  }

 private:
  ModelOptions model_;
  ChatFlags chat_;
  GenerateFlags generate_;
  StatsForm stats_ = StatsForm::none;
  std::string first_, colour_ = "auto";
  bool ignored_ = false;
};

}  // namespace

extern const CommandEntry chat = {
    .name = "chat",
    .summary = "converse with the model in its own form",
    .usage = "[MODEL] [--system TEXT] [--chat-template NAME]",
    .detail =
        "Each line is a message; one that ends with \\ goes on in the next, and \"\"\" begins and ends a message of several lines. Lines\n"
        "that begin with / are commands, which /help lists. Ctrl-C stops an answer, Ctrl-D ends the conversation.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Chat>(); },
};

}  // namespace moxie::cli::commands

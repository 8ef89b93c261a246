#include "cli/command.h"
#include "cli/console.h"
#include "cli/expert_watch.h"
#include "cli/generate_options.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "cli/npy.h"
#include "core/fail.h"

namespace moxie::cli::commands {
namespace {

class Logits final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_flags(flags);
    prompt_.add_flags(flags);
    flags.group("output");
    flags.add("output", output_, "the file to write");
  }

  Result<int> run() override {
    if (output_.empty()) return fail(ErrorCode::invalid_argument, "no file to write is given; give -o FILE.npy");
    Interruption interruption;
    MOXIE_TRY(const auto engine, open_engine(model_, &interruption.flag()));
    MOXIE_TRY(const auto ids, prompt_ids(*engine, prompt_, true, true));
    MOXIE_TRY(const auto sequence, engine->new_sequence());
    MOXIE_TRY(NpyWriter out, NpyWriter::create(output_, static_cast<int64_t>(ids.size()), engine->model().vocabulary));
    interruption.attach(sequence.get());
    ExpertWatch watch;
    if (model_.watch) watch.start(*engine);
    Result<void> written;
    const auto computed = sequence->append(ids, [&](int64_t, std::span<const float> row) {
      if (written.ok()) written = out.write_row(row);
    });
    watch.stop();
    interruption.attach(nullptr);
    MOXIE_TRY_VOID(computed);
    MOXIE_TRY_VOID(written);
    MOXIE_TRY_VOID(out.finish());
    note(fmt::format("{}: logits of {} tokens, {} each", output_, ids.size(), engine->model().vocabulary));
    return 0;
  }

 private:
  ModelOptions model_;
  PromptOptions prompt_;
  std::string output_;
};

}  // namespace

extern const CommandEntry logits = {
    .name = "logits",
    .summary = "write the logits of every position of a prompt",
    .usage = "[MODEL] (-p TEXT | -f FILE | --ids 1,2,3) -o FILE.npy",
    .detail = "The file is NumPy's (version 1.0): float32, little endian, shape (tokens, vocabulary), in C order.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Logits>(); },
};

}  // namespace moxie::cli::commands

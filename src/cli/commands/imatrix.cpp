#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/generate_options.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "convert/importance.h"
#include "core/fail.h"
#include "core/new_file.h"
#include "core/terminal.h"
#include "engine/importance_maker.h"

namespace moxie::cli::commands {
namespace {

class Imatrix final : public Command {
 public:
  Imatrix() { model_.engine.ctx_size = 512; }

  void flags(FlagSet& flags) override {
    model_.add_flags(flags);
    prompt_.add_flags(flags, false);
    flags.group("output");
    flags.add("output", output_, "the importance matrix; a name that ends in .dat gets llama.cpp's older form");
    flags.add("chunks", options_.chunks);
    flags.add("in-file", before_);
    flags.toggle("process-output", options_.output);
    flags.toggle("force", overwrite_);
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    if (output_.empty())
      return fail(ErrorCode::invalid_argument, "no file to write to is given; moxie imatrix MODEL -f FILE -o OUT");
    if (model_.engine.ctx_size <= 0) {
      return fail(ErrorCode::invalid_argument, "-c {} is no length of a chunk; give the number of tokens",
                  model_.engine.ctx_size);
    }
    std::vector<ImportanceMatrix> before;  // what is wrong with files is to show before hours of measuring
    for (const std::string& path : before_) {
      MOXIE_TRY(before.emplace_back(), read_importance(path));
    }
    MOXIE_TRY_VOID(check_writable(output_, overwrite_));
    Interruption interruption;
    MOXIE_TRY(const std::string text, prompt_.read());
    MOXIE_TRY(const auto engine, open_engine(model_, &interruption.flag()));
    MOXIE_TRY(const auto ids, engine->tokenize(text, true, false));
    options_.chunk_tokens = model_.engine.ctx_size;
    options_.stop = &interruption.flag();
    const bool shows = is_terminal(StandardStream::error);
    MOXIE_TRY(ImportanceMatrix matrix, make_importance(*engine, ids, options_, [&](int64_t done, int64_t total) {
                if (shows) diagnose(fmt::format("\rmoxie: chunk {} of {}{}", done, total, done == total ? "\n" : ""));
              }));
    matrix.datasets = {prompt_.file.empty() ? "text" : prompt_.file};
    for (const ImportanceMatrix& earlier : before) MOXIE_TRY_VOID(matrix.add(earlier));
    MOXIE_TRY_VOID(write_importance(matrix, output_, overwrite_));
    MOXIE_TRY_VOID(print(json_ ? as_json(matrix) : as_text(matrix)));
    return 0;
  }

 private:
  // Experts that no token chose: of those nothing is known.
  static size_t unseen(const ImportanceMatrix& matrix) {
    size_t count = 0;
    for (const auto& [name, entry] : matrix.entries) {
      if (name.find("ffn_down_exps") == std::string::npos) continue;
      count += static_cast<size_t>(std::count(entry.counts.begin(), entry.counts.end(), 0.0f));
    }
    return count;
  }

  std::string as_text(const ImportanceMatrix& matrix) const {
    std::string text = fmt::format("{}: {} tensors, from {} chunks of {} tokens\n", output_, matrix.entries.size(),
                                   matrix.chunks, matrix.chunk_tokens);
    if (const size_t experts = unseen(matrix); experts > 0) {
      text += fmt::format(
          "{} experts were chosen by no token: their columns count alike; a longer text may reach them\n", experts);
    }
    return text;
  }

  std::string as_json(const ImportanceMatrix& matrix) const {
    const nlohmann::ordered_json object = {{"output", output_},
                                           {"tensors", matrix.entries.size()},
                                           {"chunks", matrix.chunks},
                                           {"chunk_tokens", matrix.chunk_tokens},
                                           {"unseen_experts", unseen(matrix)}};
    return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

  ModelOptions model_;
  PromptOptions prompt_;
  ImportanceOptions options_;
  std::vector<std::string> before_;
  std::string output_;
  bool overwrite_ = false, json_ = false;
};

}  // namespace

extern const CommandEntry imatrix = {
    .name = "imatrix",
    .summary = "measure which columns of the weights matter, for convert --imatrix",
    .usage = "[MODEL] -f FILE -o OUT [-c N] [--chunks N]",
    .detail =
        "The text is cut into chunks of -c tokens (512), each computed on its own, as llama-imatrix does. For every matrix, and\n"
        "every expert by itself, OUT holds the sums of the squares that each column was multiplied with, and of how many tokens.\n"
        "OUT is a file of llama.cpp's form, which its tools read too.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Imatrix>(); },
};

}  // namespace moxie::cli::commands

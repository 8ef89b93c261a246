#include "engine/perplexity.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/expert_watch.h"
#include "cli/generate_options.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "core/fail.h"

namespace moxie::cli::commands {
namespace {

class Perplexity final : public Command {
 public:
  Perplexity() { model_.engine.ctx_size = 512; }

  void flags(FlagSet& flags) override {
    model_.add_flags(flags);
    prompt_.add_flags(flags, false);
    flags.group("output");
    flags.add("chunks", chunks_);
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    if (model_.engine.ctx_size <= 0) {
      return fail(ErrorCode::invalid_argument, "-c {} is no length of a chunk; give the number of tokens",
                  model_.engine.ctx_size);
    }
    Interruption interruption;
    MOXIE_TRY(const auto engine, open_engine(model_, &interruption.flag()));
    MOXIE_TRY(const std::string text, prompt_.read());
    MOXIE_TRY(const auto ids, engine->tokenize(text, true, false));
    MOXIE_TRY(const auto sequence, engine->new_sequence());
    interruption.attach(sequence.get());
    ExpertWatch watch;
    if (model_.watch) watch.start(*engine);
    uint64_t bytes_before = 0;
    double disk_bytes = 0;  // for a token, in the last measurement
    const auto measure = [&](bool single_tokens) -> Result<PerplexityResult> {
      bytes_before = engine->expert_stats().bytes_read;
      const PerplexityOptions options = {
          .chunk_tokens = model_.engine.ctx_size, .chunks = chunks_, .single_tokens = single_tokens};
      auto result = measure_perplexity(*engine, *sequence, ids, options, [&](const PerplexityResult& running) {
        show(running);
        return !interruption.happened();
      });
      if (!json_ && std::exchange(shown_, false)) diagnose("\n");
      if (result.ok() && result->chunks > 0) {
        disk_bytes = static_cast<double>(engine->expert_stats().bytes_read - bytes_before) /
                     static_cast<double>(result->chunks * options.chunk_tokens);
      }
      if (result.ok() && result->tokens == 0) {
        return fail(ErrorCode::invalid_argument, "--chunks {} leaves nothing to measure", chunks_);
      }
      return result;
    };
    const std::string mode = engine->expert_stats().mode;
    auto result = measure(false);
    std::optional<PerplexityResult> exact;
    if (result.ok() && mode != "exact") {
      note(
          "measured twice, exact and lossy: lossy modes act on single tokens, so the second time takes them one by "
          "one");
      exact = *result;
      result = measure(true);
    }
    watch.stop();
    interruption.attach(nullptr);
    MOXIE_TRY_VOID(result);
    const ExpertStats experts = engine->expert_stats();
    if (json_) {
      MOXIE_TRY_VOID(print(as_json(*result, exact, experts, disk_bytes)));
      return 0;
    }
    MOXIE_TRY_VOID(print(as_text(*result, exact, mode)));
    diagnose(lossy_text(experts));
    if (experts.streaming) {
      note(fmt::format("{} read from disk for a token{}", human_bytes(static_cast<uint64_t>(disk_bytes)),
                       exact ? ", token by token" : ", a chunk at a time"));
    }
    return 0;
  }

 private:
  void show(const PerplexityResult& running) {
    if (json_) return;
    diagnose(fmt::format("[{}]{:.4f},", running.chunks, running.perplexity));
    shown_ = true;
  }

  std::string as_text(const PerplexityResult& result, const std::optional<PerplexityResult>& exact,
                      const std::string& mode) const {
    std::string text =
        fmt::format("Final estimate: PPL = {:.4f} +/- {:.5f} ({} chunks of {} tokens, {} scored)\n", result.perplexity,
                    result.error, result.chunks, model_.engine.ctx_size, result.tokens);
    if (exact) {
      text += fmt::format("Price of {}: {:+.2f} % (exact: PPL = {:.4f})\n", mode,
                          100 * (result.perplexity / exact->perplexity - 1), exact->perplexity);
    }
    return text;
  }

  std::string as_json(const PerplexityResult& result, const std::optional<PerplexityResult>& exact,
                      const ExpertStats& experts, double disk_bytes) const {
    nlohmann::ordered_json object = {{"perplexity", result.perplexity}, {"error", result.error},
                                     {"mean_nll", result.mean_nll},     {"tokens", result.tokens},
                                     {"chunks", result.chunks},         {"chunk_tokens", model_.engine.ctx_size}};
    if (exact) {
      object["mode"] = experts.mode;
      object["exact_perplexity"] = exact->perplexity;
      object["lossy_accesses"] = experts.lossy_accesses;
      object["lossy_changed"] = experts.lossy_changed;
      object["lossy_weight_share"] = experts.lossy_weight_share;
    }
    if (experts.streaming) object["disk_bytes_per_token"] = disk_bytes;
    return object.dump() + "\n";
  }

  ModelOptions model_;
  PromptOptions prompt_;
  int64_t chunks_ = -1;
  bool json_ = false, shown_ = false;
};

}  // namespace

extern const CommandEntry perplexity = {
    .name = "perplexity",
    .summary = "measure how well a model predicts a text, by llama.cpp's method",
    .usage = "[MODEL] -f FILE [-c N] [--chunks N]",
    .detail =
        "The text is cut into chunks of -c tokens (512), each computed on its own, beginning with the start-of-text token where\n"
        "the tokenizer adds one; the second half of each chunk is scored. Prints the running figure and the final one with its\n"
        "standard error. With a lossy mode it measures twice, exact and lossy, and prints what the mode costs.\n"
        "Where experts stream, it says how much was read from disk for a token.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Perplexity>(); },
};

}  // namespace moxie::cli::commands

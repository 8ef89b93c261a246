#include <memory>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/interruption.h"
#include "cli/progress.h"
#include "convert/pack.h"
#include "core/fail.h"

namespace moxie::cli::commands {
namespace {

class Convert final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags.positional("IN", in_,
                     "model: a .gguf (any shard), a folder or index of safetensors, one .safetensors, a pack");
    flags.positional("OUT", out_, "file to write");
    flags.group("conversion");
    flags.toggle("pack", pack_);
    flags.toggle("force", force_);
    flags.add("arch", options_.arch);
    flags.toggle("verbose", verbose_);
  }

  Result<int> run() override {
    if (in_.empty() || out_.empty()) {
      return fail(ErrorCode::invalid_argument, "{}; moxie convert IN OUT --pack",
                  in_.empty() ? "no model to convert is given" : "no file to write to is given");
    }
    if (!pack_) {
      return fail(ErrorCode::unsupported,
                  "packs are all that moxie convert writes so far: add --pack to write '{}' as one", out_);
    }
    const Interruption interruption;  // before anything that takes long
    Progress progress("packing");
    options_.overwrite = force_;
    options_.on_progress = [&](uint64_t done, uint64_t total) {
      progress.update(done, total);
      return !interruption.happened();
    };
    Log log([&](LogLevel level, std::string_view text) {
      if (level != LogLevel::warning && !verbose_) return;
      progress.clear();
      note(text);
    });
    MOXIE_TRY(const WeightFiles source, open_weights(in_));
    auto summary = write_pack(source, out_, options_, log);
    progress.clear();
    if (!summary.ok()) return std::move(summary).error();
    MOXIE_TRY_VOID(print(fmt::format("{}: {}; {} experts ({}), {} other tensors; fingerprint {:016x}\n", out_,
                                     human_bytes(summary->bytes), summary->experts, human_bytes(summary->expert_bytes),
                                     summary->dense_tensors, summary->fingerprint)));
    return 0;
  }

 private:
  std::string in_, out_;
  PackOptions options_;
  bool pack_ = false, force_ = false, verbose_ = false;
};

}  // namespace

extern const CommandEntry convert = {
    .name = "convert",
    .summary = "write a model as an aligned pack, whose experts are read fastest",
    .usage = "IN OUT --pack [--force]",
    .detail =
        "A pack holds the source's bytes unchanged, with everything else the source says, and runs exactly like it. "
        "Every expert is one "
        "piece of the file, and has checksums: moxie inspect --verify compares them. docs/memory.md says when a pack "
        "pays.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Convert>(); },
};

}  // namespace moxie::cli::commands

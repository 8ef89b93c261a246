#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/interruption.h"
#include "cli/progress.h"
#include "convert/convert.h"
#include "convert/pack.h"
#include "convert/safetensors_writer.h"
#include "core/cpu_info.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"
#include "engine/memory_budget.h"

namespace moxie::cli::commands {
namespace {

class Convert final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags.positional("IN", in_,
                     "model: a .gguf (any shard), a folder or index of safetensors, one .safetensors, a pack");
    flags.positional("OUT", out_, "file to write; for safetensors the folder");
    flags.group("what is written");
    flags.add("to", to_);
    flags.add("type", type_);
    flags.add("mixture", mixture_);
    flags.add("tensor-type", overrides_);
    flags.add("imatrix", imatrix_);
    flags.toggle("merge-experts", split_experts_, false);
    flags.toggle("split-experts", split_experts_);
    flags.add("split-max-size", split_size_);
    flags.toggle("pack", pack_);
    flags.group("conversion");
    flags.toggle("dry-run", options_.dry_run);
    flags.toggle("force", options_.overwrite);
    flags.add("threads", threads_, "threads that encode; 0 or less: as many as this process has physical cores");
    flags.add("arch", options_.arch);
    flags.toggle("json", json_, true, "print what was written as JSON");
    flags.toggle("verbose", verbose_);
  }

  Result<int> run() override {
    if (in_.empty() || out_.empty()) {
      return fail(ErrorCode::invalid_argument, "{}; moxie convert IN OUT [--type TYPE]",
                  in_.empty() ? "no model to convert is given" : "no file to write to is given");
    }
    MOXIE_TRY_VOID(settle());
    const Interruption interruption;  // before anything that takes long
    Progress progress(pack_ ? "packing" : "converting");
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
    if (pack_) return write_as_pack(source, log, progress);
    auto summary = safetensors_ ? convert_to_safetensors(source, out_, safetensors_options(), log)
                                : convert_to_gguf(source, out_, options_, log);
    progress.clear();
    if (!summary.ok()) return std::move(summary).error();
    MOXIE_TRY_VOID(json_ ? print_json(*summary) : print_summary(*summary));
    if (summary->refusal) return std::move(*summary->refusal);
    return 0;
  }

 private:
  // Flags to options; what does not go together is refused.
  Result<void> settle() {
    if (pack_ && (!type_.empty() || !overrides_.empty() || !imatrix_.empty() || !split_size_.empty() ||
                  split_experts_ || options_.dry_run || json_)) {
      return fail(ErrorCode::invalid_argument,
                  "a pack is the model's bytes as they are in one file: --pack goes with --force, --arch and -v alone");
    }
    MOXIE_TRY_VOID(settle_format());
    if (!type_.empty()) {
      options_.mixture = find_mixture(type_);
      if (options_.mixture == nullptr) {
        return fail(ErrorCode::invalid_argument, "type '{}' is not known; there are {}", printable(type_),
                    mixture_names());
      }
    }
    if (mixture_ != "present" && mixture_ != "2023")
      return fail(ErrorCode::invalid_argument, "mixture '{}' is not known; take present or 2023", printable(mixture_));
    options_.year = mixture_ == "2023" ? MixtureYear::of_2023 : MixtureYear::present;
    for (const std::string& text : overrides_) {
      MOXIE_TRY(TypeOverride override, parse_type_override(text));
      options_.overrides.push_back(std::move(override));
    }
    if (!imatrix_.empty()) {
      if (type_.empty() && overrides_.empty())
        return fail(ErrorCode::invalid_argument,
                    "an importance matrix is of use when something is quantized: give --type too");
      MOXIE_TRY(importance_, read_importance(imatrix_));
      options_.importance = &importance_;
    }
    options_.experts = split_experts_ ? ExpertForm::one_by_one : ExpertForm::merged;
    if (!split_size_.empty()) {
      const auto size = parse_memory(split_size_, {}, BudgetFor::any_machine);
      if (!size.ok() || size->kind != MemoryBudget::Kind::amount)
        return fail(ErrorCode::invalid_argument, "'{}' is no size of a part; give one such as 20G",
                    printable(split_size_));
      options_.split_bytes = size->bytes;
    }
    options_.threads = threads_ > 0 ? threads_ : read_cpu_info().threads;
    return {};
  }

  Result<void> settle_format() {
    if (!to_.empty() && to_ != "gguf" && to_ != "safetensors")
      return fail(ErrorCode::invalid_argument, "--to {} is not known; take gguf or safetensors", printable(to_));
    safetensors_ = to_ == "safetensors" || (to_.empty() && !pack_ && (out_.ends_with('/') || is_folder(out_)));
    if (!safetensors_) return {};
    if (pack_ || !overrides_.empty() || !imatrix_.empty() || split_experts_ || mixture_ != "present") {
      return fail(ErrorCode::invalid_argument,
                  "safetensors are floats under Hugging Face's names, every expert by itself: --pack, --tensor-type, "
                  "--imatrix, --mixture and --split-experts do not go with them");
    }
    if (type_.empty()) return {};
    const Mixture* mixture = find_mixture(type_);
    float_type_ = mixture != nullptr ? find_quant_type(mixture->name) : nullptr;
    if (float_type_ == nullptr || (mixture->name != "f32" && mixture->name != "f16" && mixture->name != "bf16"))
      return fail(ErrorCode::invalid_argument, "safetensors hold floats: --type {} is none of f32, f16 and bf16",
                  printable(type_));
    return {};
  }

  SafetensorsOptions safetensors_options() const {
    return {.type = float_type_,
            .split_bytes = options_.split_bytes,
            .arch = options_.arch,
            .overwrite = options_.overwrite,
            .dry_run = options_.dry_run,
            .threads = options_.threads,
            .on_progress = options_.on_progress};
  }

  Result<int> write_as_pack(const WeightFiles& source, Log& log, Progress& progress) {
    auto summary =
        write_pack(source, out_,
                   {.arch = options_.arch, .overwrite = options_.overwrite, .on_progress = options_.on_progress}, log);
    progress.clear();
    if (!summary.ok()) return std::move(summary).error();
    MOXIE_TRY_VOID(print(fmt::format("{}: {}; {} experts ({}), {} other tensors; fingerprint {:016x}\n", out_,
                                     human_bytes(summary->bytes), summary->experts, human_bytes(summary->expert_bytes),
                                     summary->dense_tensors, summary->fingerprint)));
    return 0;
  }

  Result<void> print_summary(const ConvertSummary& summary) const {
    std::string types;
    for (const ConvertSummary::Share& share : summary.types) {
      types +=
          fmt::format("{}{} {} ({})", types.empty() ? "" : ", ", share.tensors, share.type, human_bytes(share.bytes));
    }
    std::string place = summary.paths.front();
    if (summary.paths.size() > 1) place += fmt::format(" and {} more", summary.paths.size() - 1);
    return print(fmt::format("{}{}: {} ({} bytes); {} tensors: {}\n",
                             summary.refusal    ? "would be "
                             : options_.dry_run ? "would write "
                                                : "",
                             place, human_bytes(summary.bytes), summary.bytes, summary.tensors, types));
  }

  Result<void> print_json(const ConvertSummary& summary) const {
    nlohmann::ordered_json types = nlohmann::ordered_json::array();
    for (const ConvertSummary::Share& share : summary.types)
      types.push_back({{"type", share.type}, {"tensors", share.tensors}, {"bytes", share.bytes}});
    nlohmann::ordered_json all = {{"files", summary.paths},
                                  {"bytes", summary.bytes},
                                  {"tensors", summary.tensors},
                                  {"types", types},
                                  {"written", !options_.dry_run}};
    if (summary.refusal) all["refused"] = summary.refusal->message;
    return print(all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  }

  std::string in_, out_, to_, type_, mixture_ = "present", imatrix_, split_size_;
  std::vector<std::string> overrides_;
  ImportanceMatrix importance_;
  ConvertOptions options_;
  int threads_ = 0;
  const QuantType* float_type_ = nullptr;
  bool safetensors_ = false;
  bool pack_ = false, split_experts_ = false, json_ = false, verbose_ = false;
};

}  // namespace

extern const CommandEntry convert = {
    .name = "convert",
    .summary = "write a model as GGUF, as it is or quantized, as safetensors, or as an aligned pack",
    .usage = "IN OUT [--type TYPE] [--force]",
    .detail =
        "Without --type the weights' bytes are copied as they are. Quantized safetensors (MLX, GPTQ, AWQ, ...) have no "
        "form in GGUF: they are decoded, and become what --type says. A folder as OUT gets safetensors with config.json and "
        "tokenizer. With --pack the file is an aligned pack: the "
        "source's bytes unchanged, with everything else the source says, every expert one piece with its checksum; it "
        "runs exactly like its source, and its experts are read fastest (docs/memory.md).",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Convert>(); },
};

}  // namespace moxie::cli::commands

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/hub_model.h"
#include "cli/model_options.h"
#include "cli/npy.h"
#include "cli/progress.h"
#include "core/fail.h"
#include "core/folder.h"
#include "format/tensor_values.h"

namespace moxie::cli::commands {
namespace {

class Tensor final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags.positional("MODEL", model_.positional, "model: a file, a folder, or hf:ORG/NAME[@REVISION][:FILE]");
    flags.positional("NAME", name_, "tensor, as `moxie inspect --tensors` names it");
    flags.group("output");
    flags.add("output", output_);
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    if (model_.positional.empty() || name_.empty()) {
      return fail(ErrorCode::invalid_argument, "{} is given; moxie tensor MODEL NAME -o FILE.npy",
                  model_.positional.empty() ? "no model" : "no tensor");
    }
    std::string model = model_.positional;
    MOXIE_TRY_VOID(hub_.open(model));
    MOXIE_TRY(const WeightFiles files, open_weights(model));
    const TensorInfo* tensor = files.find(name_);
    if (tensor == nullptr) {
      const std::string near = files.nearest(name_);
      return fail(
          ErrorCode::not_found, "{} has no tensor \"{}\"; {}", files.path, printable(name_),
          near.empty() ? "`moxie inspect --tensors` lists them" : fmt::format("did you mean \"{}\"?", printable(near)));
    }
    MOXIE_TRY_VOID(read(files, *tensor));
    MOXIE_TRY_VOID(print(json_ ? as_json(files, *tensor) : as_text(files, *tensor)));
    if (const auto words = hub_.read_in_words()) note(*words);
    return 0;
  }

 private:
  Result<void> read(const WeightFiles& files, const TensorInfo& tensor) {
    std::optional<NpyWriter> writer;
    if (!output_.empty()) {
      MOXIE_TRY(NpyWriter made, NpyWriter::create(output_, tensor.shape));
      writer.emplace(std::move(made));
    }
    Progress progress("reading");
    const auto all = static_cast<uint64_t>(tensor.elements());
    MOXIE_TRY_VOID(read_tensor_rows(files, tensor, [&](std::span<const float> row) -> Result<void> {
      for (const float value : row) {
        if (!std::isfinite(value)) {
          ++not_finite_;
          continue;
        }
        least_ = std::min(least_, value);
        most_ = std::max(most_, value);
        sum_ += static_cast<double>(value);
      }
      count_ += row.size();
      progress.update(count_ * sizeof(float), all * sizeof(float));
      return writer ? writer->write_row(row) : Result<void>{};
    }));
    progress.clear();
    return writer ? writer->finish() : Result<void>{};
  }

  static std::string file_of(const WeightFiles& files, const TensorInfo& tensor) {
    return file_name(files.files[static_cast<size_t>(tensor.file)].path);
  }
  double mean() const { return count_ == not_finite_ ? 0 : sum_ / static_cast<double>(count_ - not_finite_); }

  std::string as_text(const WeightFiles& files, const TensorInfo& tensor) const {
    std::string out = fmt::format("{}: {} [{}], {} in {}", tensor.name, tensor.dtype, fmt::join(tensor.shape, ", "),
                                  human_bytes(tensor.bytes), file_of(files, tensor));
    if (count_ > not_finite_) out += fmt::format("; {:.6g} to {:.6g}, mean {:.6g}", least_, most_, mean());
    if (not_finite_ > 0) out += fmt::format("; {} values are not finite", not_finite_);
    return out + "\n";
  }

  std::string as_json(const WeightFiles& files, const TensorInfo& tensor) const {
    nlohmann::ordered_json object = {
        {"name", tensor.name},   {"type", tensor.dtype},           {"shape", tensor.shape},
        {"bytes", tensor.bytes}, {"file", file_of(files, tensor)}, {"not_finite", not_finite_}};
    if (count_ > not_finite_) {
      object["min"] = least_;
      object["max"] = most_;
      object["mean"] = mean();
    }
    return object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

  RemoteModel hub_;  // before what reads its files
  ModelOptions model_;
  std::string name_, output_;
  bool json_ = false;
  float least_ = INFINITY, most_ = -INFINITY;
  double sum_ = 0;
  uint64_t count_ = 0, not_finite_ = 0;
};

}  // namespace

extern const CommandEntry tensor = {
    .name = "tensor",
    .summary = "read one tensor of a model, as float32: to a NumPy file, or how its values lie",
    .usage = "MODEL NAME [-o FILE.npy]",
    .detail =
        "Of a model that is not on this machine (hf:ORG/NAME) only the headers and the tensor's own bytes are read.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Tensor>(); },
};

}  // namespace moxie::cli::commands

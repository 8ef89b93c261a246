#include "engine/quantize_opened.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>

#include "convert/convert.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"
#include "core/xxh64.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

// The first tensor whose numbers are quantized; null: none is.
const TensorInfo* quantized_tensor(const WeightFiles& source) {
  for (const TensorInfo& tensor : source.tensors) {
    if (tensor.type != nullptr && !is_unquantized(*tensor.type)) return &tensor;
  }
  return nullptr;
}

uint64_t hash_of(const std::string& text) {
  return xxh64(std::as_bytes(std::span(text)));
}

// Which source it is, whatever its content: what came of an elder one is of no use any more.
uint64_t place_of(const WeightFiles& source, const QuantizeRequest& request) {
  std::error_code none;
  return hash_of(fmt::format("{}\n{}", fs::absolute(source.path, none).lexically_normal().string(), request.arch));
}

// Another version may encode otherwise, and a source that was written anew is another.
uint64_t fingerprint(const WeightFiles& source, const QuantizeRequest& request, const Mixture& mixture) {
  std::string facts = fmt::format("{}\n{}\n{}\n", MOXIE_VERSION, mixture.name, request.arch);
  for (const WeightPart& part : source.files) {
    std::error_code none;
    facts += fmt::format("{}\n{}\n{}\n", fs::absolute(part.path, none).string(), part.bytes,
                         fs::last_write_time(part.path, none).time_since_epoch().count());
  }
  facts += source.config;
  return hash_of(facts);
}

std::string source_name(const WeightFiles& source) {
  const fs::path path = fs::path(source.path).lexically_normal();
  const fs::path last = (path.has_filename() ? path : path.parent_path()).filename();
  const bool file = last.extension() == ".gguf" || last.extension() == ".safetensors" || last.extension() == ".json";
  const std::string name = (file ? last.stem() : last).string();
  return name.empty() || name == "." || name == ".." ? "model" : name;
}

Result<void> make_folder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error || is_folder(folder)) return {};
  return fail(ErrorCode::io, "{}: cannot make this folder for quantized weights: {}", folder, error.message());
}

class Quantizer {
 public:
  Quantizer(const WeightFiles& source, const QuantizeRequest& request, const Mixture& mixture, Log& log)
      : source_(source), request_(request), mixture_(mixture), log_(log) {}

  Result<QuantizedWeights> run() {
    MOXIE_TRY_VOID(make_folder(request_.folder));
    const std::string of_source = fmt::format("{}-{}-{:08x}-", source_name(source_), upper(mixture_.name),
                                              static_cast<uint32_t>(place_of(source_, request_)));
    const std::string name = fmt::format("{}{:016x}", of_source, fingerprint(source_, request_, mixture_));
    if (!request_.keep) {
      const std::string path = join_path(request_.folder, fmt::format("{}.{:08x}.gguf", name, std::random_device()()));
      MOXIE_TRY_VOID(write(path, "; --quantize-cache keeps them for the next run"));
      return open_once(path);
    }
    const std::string path = join_path(request_.folder, name + ".gguf");
    if (auto kept = open_weights(path); kept.ok()) {
      log_.notice(fmt::format("the weights were quantized to {} earlier: {}", upper(mixture_.name), path));
      return as_source(std::move(kept).value());
    }
    MOXIE_TRY_VOID(write(path, "; kept in " + path));
    MOXIE_TRY(WeightFiles files, open_weights(path));
    remove_outdated(of_source, name);
    return as_source(std::move(files));
  }

 private:
  // A source that was written anew, or a newer moxie: nothing will ask for what was kept before. Whoever has it open
  // keeps it.
  void remove_outdated(const std::string& of_source, const std::string& name) {
    const auto names = list_files(request_.folder);
    if (!names.ok()) return;
    for (const std::string& other : *names) {
      if (!other.starts_with(of_source) || other == name + ".gguf" || !other.ends_with(".gguf")) continue;
      std::error_code failed;
      if (fs::remove(join_path(request_.folder, other), failed))
        log_.notice(fmt::format("{} was of an elder version of the model, and is removed", other));
    }
  }

  Result<void> write(const std::string& path, std::string_view ending) {
    const auto start = std::chrono::steady_clock::now();
    ConvertOptions options = {.mixture = &mixture_,
                              .arch = request_.arch,
                              .overwrite = true,
                              .threads = request_.threads,
                              .on_progress = request_.on_progress};
    MOXIE_TRY(const ConvertSummary summary, convert_to_gguf(source_, path, options, log_));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    log_.notice(fmt::format("the weights were quantized to {} while opening: {} became {} in {:.1f} s{}",
                            upper(mixture_.name), human_bytes(source_.total_bytes()), human_bytes(summary.bytes),
                            seconds, ending));
    return {};
  }

  // The file as it is read from now on: the way to it outlives its name.
  Result<QuantizedWeights> open_once(const std::string& path) {
    auto files = open_weights(path);
    MOXIE_TRY(DisappearingFile file, DisappearingFile::take(path));
    if (!files.ok()) return std::move(files).error();
    for (WeightPart& part : files->files) part.path = file.path();
    QuantizedWeights weights = as_source(std::move(files).value());
    weights.file.emplace(std::move(file));
    return weights;
  }

  QuantizedWeights as_source(WeightFiles files) const {
    files.path = source_.path;
    files.format = fmt::format("{}, quantized to {} while opening", source_.format, upper(mixture_.name));
    files.tokenizer = source_.tokenizer;
    return {.files = std::move(files), .file = std::nullopt};
  }

  const WeightFiles& source_;
  const QuantizeRequest& request_;
  const Mixture& mixture_;
  Log& log_;
};

}  // namespace

Result<std::optional<QuantizedWeights>> quantize_opened(const WeightFiles& source, const QuantizeRequest& request,
                                                        Log& log) {
  const Mixture* mixture = find_mixture(request.type);
  if (mixture == nullptr) {
    return fail(ErrorCode::invalid_argument, "quantize '{}' is not known; there are {}", printable(request.type),
                mixture_names());
  }
  if (const TensorInfo* tensor = quantized_tensor(source)) {
    log.notice(
        fmt::format("the weights are quantized already ('{}' is {}) and stay as they are: --quantize {} has no "
                    "effect; moxie convert --type changes the type of such a model",
                    printable(tensor->name), tensor->dtype, printable(request.type)));
    return std::optional<QuantizedWeights>();
  }
  MOXIE_TRY(QuantizedWeights weights, Quantizer(source, request, *mixture, log).run());
  return std::optional<QuantizedWeights>(std::move(weights));
}

}  // namespace moxie

// Which type a conversion gives each tensor.
#include <algorithm>
#include <map>

#include "convert/convert.h"
#include "core/ascii.h"
#include "core/fail.h"
#include "core/printable.h"
#include "format/messages.h"
#include "text/regex.h"

namespace moxie {
namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

// "Q4_K (0, 2), Q5_K (1)": the experts by type.
std::string types_of_pieces(const OutputTensor& tensor) {
  std::map<std::string, std::vector<std::string>> by_type;
  for (size_t i = 0; i < tensor.pieces.size(); ++i)
    by_type[upper(tensor.pieces[i].tensor->type->name)].push_back(std::to_string(i));
  std::string text;
  for (const auto& [type, ids] : by_type)
    text += fmt::format("{}{} (experts {})", text.empty() ? "" : ", ", type, name_some(ids, 4));
  return text;
}

class Chooser {
 public:
  Chooser(const WeightFiles& source, const ModelPlan& plan, const ConvertOptions& options)
      : source_(source), options_(options) {
    const Hyperparameters& hp = plan.hp;
    arch_ = gguf_architecture(source, plan);
    model_ = {.architecture = arch_,
              .layers = hp.layers,
              .experts = hp.router.experts,
              .heads = hp.heads,
              .kv_heads = hp.kv_heads,
              .informed = options.importance != nullptr,
              .year = options.year};
  }

  Result<void> choose(std::vector<OutputTensor>& tensors, Log& log) {
    MOXIE_TRY_VOID(compile());
    model_.tied_output = std::none_of(tensors.begin(), tensors.end(),
                                      [](const OutputTensor& tensor) { return tensor.name == "output.weight"; });
    int64_t again = 0;
    std::string from;
    for (OutputTensor& tensor : tensors) {
      MOXIE_TRY(tensor.type, wanted_type(tensor));
      MOXIE_TRY_VOID(check(tensor));
      if (tensor.is_copied() || tensor.pieces.empty()) continue;
      const QuantType& type = *tensor.pieces.front().tensor->type;
      if (is_unquantized(type) || type.twin == tensor.type->name) continue;
      if (tensor.type->block_values == 1) continue;
      ++again;
      from = tensor.pieces.front().tensor->dtype;
    }
    if (again > 0) {
      log.notice(
          fmt::format("{} tensors are quantized again from {}, which loses more than quantizing the original "
                      "weights does; convert those if you have them",
                      again, from));
    }
    return {};
  }

 private:
  struct CompiledOverride {
    Regex expression;
    const QuantType* type;
  };

  Result<void> compile() {
    for (const TypeOverride& override : options_.overrides) {
      MOXIE_TRY(Regex expression, Regex::compile(override.pattern));
      overrides_.push_back({std::move(expression), override.type});
    }
    return {};
  }

  const QuantType* overriding_type(const OutputTensor& tensor) const {
    for (const CompiledOverride& override : overrides_) {
      RegexScan scan(override.expression);
      scan.start(tensor.name);
      RegexScan::Match match;
      if (scan.next(match)) return &fitting_type(*override.type, tensor.columns());
    }
    return nullptr;
  }

  Result<const QuantType*> wanted_type(const OutputTensor& tensor) const {
    const QuantType* f32 = find_quant_type("f32");
    if (!tensor.values.empty()) return f32;
    const bool matrix = is_quantized_by_mixtures(tensor.name, tensor.shape);
    const QuantType* from = tensor.source_type();
    if (matrix) {
      if (const QuantType* type = overriding_type(tensor)) return type;
      if (options_.mixture != nullptr) return &mixture_type(*options_.mixture, model_, tensor.name, tensor.shape);
    } else if (source_.scheme != NameScheme::gguf || from == nullptr) {
      return f32;  // vectors and routers; readers of GGUF files expect them so
    }
    if (from != nullptr && from->gguf_id >= 0) return from;
    if (from != nullptr && !from->twin.empty()) return find_quant_type(from->twin);
    if (from == nullptr) {
      return fail(ErrorCode::unsupported,
                  "{}: the experts of '{}' differ in type: {}; one tensor cannot hold them as they are: give --type to "
                  "give them one, or --split-experts to keep them",
                  source_.path, tensor.name, types_of_pieces(tensor));
    }
    return fail(ErrorCode::unsupported,
                "{}: '{}' is {}, for which GGUF has no form; give --type to say what it shall become ({})",
                source_.path, printable(tensor.pieces.front().tensor->name), tensor.pieces.front().tensor->dtype,
                mixture_names());
  }

  Result<void> check(const OutputTensor& tensor) const {
    if (tensor.is_copied()) return {};
    if (tensor.type->encode == nullptr) {
      return fail(ErrorCode::unsupported, "{}: '{}' shall become {}, which moxie does not write; there are {}",
                  source_.path, printable(tensor.name), upper(tensor.type->name), mixture_names());
    }
    for (const ProjectionRecord& piece : tensor.pieces) {
      if (piece.tensor->type->computable()) continue;
      return fail(ErrorCode::unsupported,
                  "{}: '{}' is {}, which moxie recognises but cannot decode; convert another quantization of the same "
                  "model",
                  source_.path, printable(piece.tensor->name), piece.tensor->dtype);
    }
    return {};
  }

  const WeightFiles& source_;
  const ConvertOptions& options_;
  std::string arch_;
  MixtureModel model_;
  std::vector<CompiledOverride> overrides_;
};

}  // namespace

Result<TypeOverride> parse_type_override(const std::string& text) {
  const size_t sign = text.rfind('=');
  if (sign == std::string::npos || sign == 0 || sign + 1 == text.size()) {
    return fail(ErrorCode::invalid_argument, "'{}' is no NAME=TYPE, such as attn_v=q8_0", printable(text));
  }
  const std::string name = ascii_lower(std::string_view(text).substr(sign + 1));
  const QuantType* type = find_quant_type(name);
  if (type == nullptr || type->encode == nullptr) {
    std::string known;
    for (const QuantType* each : quant_types()) {
      if (each->encode != nullptr) known.append(known.empty() ? "" : ", ").append(each->name);
    }
    return fail(ErrorCode::invalid_argument, "'{}' is no type that moxie writes; there are {}", printable(name), known);
  }
  return TypeOverride{.pattern = text.substr(0, sign), .type = type};
}

Result<void> choose_types(const WeightFiles& source, const ModelPlan& plan, const ConvertOptions& options,
                          std::vector<OutputTensor>& tensors, Log& log) {
  return Chooser(source, plan, options).choose(tensors, log);
}

}  // namespace moxie

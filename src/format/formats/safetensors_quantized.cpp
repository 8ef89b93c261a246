#include "format/formats/safetensors_quantized.h"

#include <array>
#include <string>
#include <string_view>

#include "core/fail.h"
#include "format/messages.h"

namespace moxie {
namespace {

// A tensor name that only one scheme has. The first row that fits a tensor names the scheme.
struct Sign {
  std::string_view ending;
  std::string_view dtype;  // empty: any
  std::string_view scheme;
};

constexpr std::array kSigns = std::to_array<Sign>({
    {".q_invperm", "", "EXL2"},
    {".trellis", "", "EXL3"},
    {".codebooks", "", "AQLM"},
    {".W_q", "", "HQQ"},
    {".weight", "F8_E5M2", "FP8 (e5m2)"},
});

std::string_view scheme_of(const TensorInfo& tensor) {
  for (const Sign& sign : kSigns) {
    if (tensor.name.ends_with(sign.ending) && (sign.dtype.empty() || tensor.dtype == sign.dtype)) return sign.scheme;
  }
  return {};
}

}  // namespace

Result<void> refuse_quantized(const WeightFiles& files) {
  const std::string method = files.metadata.text("quantization_config.quant_method").value_or("");
  for (const TensorInfo& tensor : files.tensors) {
    const std::string_view scheme = scheme_of(tensor);
    if (scheme.empty()) continue;
    return fail(
        Diagnosis{.code = "quantized-otherwise",
                  .found = fmt::format("{} (\"{}\" of {})", scheme, printable(tensor.name), printable(tensor.dtype)),
                  .expected = "MLX, GPTQ, AWQ, bitsandbytes, FP8, compressed-tensors, MXFP4 or plain weights"},
        ErrorCode::unsupported,
        "{}: is a checkpoint quantized with {}{} (it holds \"{}\" of {}), which moxie does not compute; get a "
        "GGUF file of the model or its "
        "unquantized checkpoint",
        files.path, scheme, method.empty() ? "" : fmt::format(" (quant_method \"{}\")", printable(method)),
        printable(tensor.name), tensor.dtype);
  }
  if (method.empty()) return {};
  for (const TensorInfo& tensor : files.tensors) {
    if (tensor.type != nullptr) continue;
    return fail(Diagnosis{.code = "quantized-otherwise",
                          .found = fmt::format("{} (\"{}\" of {})", printable(method), printable(tensor.name),
                                               printable(tensor.dtype)),
                          .expected = "MLX, GPTQ, AWQ, bitsandbytes, FP8, compressed-tensors, MXFP4 or plain weights"},
                ErrorCode::unsupported,
                "{}: is a checkpoint quantized with \"{}\" (quantization_config.quant_method; it holds \"{}\" of {}), "
                "which moxie does not "
                "compute; get a GGUF file of the model or its unquantized checkpoint",
                files.path, printable(method), printable(tensor.name), tensor.dtype);
  }
  return {};
}

}  // namespace moxie

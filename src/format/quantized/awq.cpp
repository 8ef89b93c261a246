// AWQ: ".qweight" and ".qzeros" of I32, packed along the outputs, and ".scales" of floats, as the GEMM kernels take
// them.
#include <fmt/ranges.h>

#include <algorithm>

#include "core/ascii.h"
#include "core/fail.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kWeight = ".qweight";
constexpr int64_t kPerWord = 8;
constexpr int64_t kOutputsMax = int64_t{1} << 32;

bool recognises(const WeightFiles& files) {
  return std::any_of(files.tensors.begin(), files.tensors.end(),
                     [](const TensorInfo& tensor) { return tensor.name.ends_with(kWeight); });
}

Result<void> check_version(const QuantizedTensors& tensors) {
  const Metadata& md = tensors.metadata();
  const std::string method = md.text("quantization_config.quant_method").value_or("awq");
  const std::string version = ascii_lower(md.text("quantization_config.version").value_or("gemm"));
  const int64_t bits =
      md.integer("quantization_config.bits").value_or(md.integer("quantization_config.w_bit").value_or(4));
  if (method == "awq" && version == "gemm" && bits == 4) return {};
  return fail(Diagnosis{.code = "quantized-otherwise",
                        .found = fmt::format("{}, version {}, {} bits", printable(method), printable(version), bits),
                        .expected = "awq, version gemm, 4 bits"},
              ErrorCode::unsupported,
              "{}: its weights are quantized with '{}', version '{}', {} bits (quantization_config); of those packed "
              "along the outputs moxie reads awq, version gemm, 4 bits: get that revision, or a GGUF file of the model",
              tensors.files().path, printable(method), printable(version), bits);
}

Result<void> join_module(QuantizedTensors& tensors, std::string_view module) {
  MOXIE_TRY(const TensorInfo* words, tensors.need(module, kWeight, {"I32", "U32"}, 2));
  MOXIE_TRY(const TensorInfo* zeros, tensors.need(module, ".qzeros", {"I32", "U32"}, 2));
  MOXIE_TRY(const TensorInfo* scales, tensors.need(module, ".scales", {"F16", "BF16", "F32"}, 2));
  const int64_t inputs = words->shape[0], groups = scales->shape[0];
  if (inputs < 1 || words->shape[1] < 1 || words->shape[1] > kOutputsMax)
    return tensors.wrong(*words, "holds no weights");
  const int64_t outputs = words->shape[1] * kPerWord;
  const bool fits = scales->shape[1] == outputs && zeros->shape[1] == words->shape[1] && zeros->shape[0] == groups &&
                    groups >= 1 && inputs % groups == 0;
  if (!fits)
    return tensors.wrong(
        *scales, fmt::format("and zero points [{}] do not belong to '{}' of [{}]", fmt::join(zeros->shape, ", "),
                             printable(words->name), fmt::join(words->shape, ", ")));
  const int64_t group = inputs / groups;
  const bool native = group % 32 == 0 && scales->dtype == "F16";
  if (!native) {
    tensors.notice_once(fmt::format(
        "AWQ weights in groups of {} with scales of {} have no kernel of their own: they are decoded as they are used, "
        "which is slower",
        group, scales->dtype));
  }
  return tensors.join(module, native ? "awq4" : "awq", "AWQ 4-bit", {outputs, inputs},
                      {.group = group, .bits = 4, .scales = *scale_format(scales->dtype)},
                      {{words, false}, {zeros, false}, {scales, false}});
}

Result<void> join(QuantizedTensors& tensors) {
  MOXIE_TRY_VOID(check_version(tensors));
  for (const TensorInfo& tensor : tensors.files().tensors) {
    const auto module = before_ending(tensor.name, kWeight);
    if (module) MOXIE_TRY_VOID(join_module(tensors, *module));
  }
  return {};
}

}  // namespace

extern constinit const QuantizedScheme awq = {.name = "AWQ", .recognises = recognises, .join = join};

}  // namespace moxie::quantized

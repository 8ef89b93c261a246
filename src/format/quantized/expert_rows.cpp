// The layout of December 2023, in which Mixtral came first: the experts of a layer are one matrix for each of w1, w2
// and w3, (experts * inner, hidden), the rows of one expert after those of another; those of w2 are its inputs. They
// come out as gate_proj, down_proj and up_proj, as others have them.
#include <algorithm>
#include <array>

#include "core/fail.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kModule = ".block_sparse_moe.";
constexpr std::array<std::string_view, 3> kNames = {"w1", "w2", "w3"}, kGiven = {"gate_proj", "down_proj", "up_proj"};
constexpr int64_t kExpertsMax = 65535;

struct Found {
  std::string_view prefix;  // "model.layers.0.block_sparse_moe."
  size_t which;
};
std::optional<Found> find(std::string_view name) {
  const std::string_view stem = before_ending(name, ".weight").value_or(name);
  for (size_t which = 0; which < kNames.size(); ++which) {
    const auto prefix = before_ending(stem, kNames[which]);
    if (prefix && prefix->ends_with(kModule)) return Found{*prefix, which};
  }
  return std::nullopt;
}

bool recognises(const WeightFiles& files) {
  return std::any_of(files.tensors.begin(), files.tensors.end(),
                     [](const TensorInfo& tensor) { return find(tensor.name).has_value(); });
}

Result<void> join_matrix(QuantizedTensors& tensors, const TensorInfo& tensor, const Found& found, int64_t experts) {
  const auto format = scale_format(tensor.dtype);
  if (!format) return tensors.wrong(tensor, "should be of BF16, F16 or F32");
  const int64_t hidden = tensors.metadata().integer("hidden_size").value_or(0);
  const bool fits = tensor.shape.size() == 2 && tensor.shape[0] > 0 && tensor.shape[0] % experts == 0 &&
                    tensor.shape[1] > 0 && (hidden <= 0 || tensor.shape[1] == hidden);
  if (!fits) {
    return tensors.wrong(
        tensor,
        fmt::format("should have the rows of {} experts (num_experts) with {} numbers each (dim)", experts, hidden));
  }
  const std::string name = fmt::format("{}switch_mlp.{}", found.prefix, kGiven[found.which]);
  const int64_t inner = tensor.shape[0] / experts, width = tensor.shape[1];
  if (kNames[found.which] != "w2") {
    tensors.keep_as(tensor, name + ".weight", {experts, inner, width});
    return {};
  }
  const std::string_view type = *format == ScaleFormat::bf16  ? "strided_bf16"
                                : *format == ScaleFormat::f16 ? "strided_f16"
                                                              : "strided_f32";
  return tensors.join(name, type, tensor.dtype, {experts, width, inner},
                      {.column_step = width,
                       .group = 1,
                       .group_rows = width,
                       .bits = static_cast<uint8_t>(*format == ScaleFormat::f32 ? 32 : 16),
                       .scales = *format},
                      {{&tensor}});
}

Result<void> join(QuantizedTensors& tensors) {
  const auto experts = tensors.metadata().integer("num_local_experts");
  for (const TensorInfo& tensor : tensors.files().tensors) {
    const auto found = find(tensor.name);
    if (!found) continue;
    if (!experts || *experts < 1 || *experts > kExpertsMax) {
      return fail(Diagnosis{.code = "damaged-config",
                            .found = experts ? fmt::format("{} experts", *experts) : "no number of experts",
                            .expected = "moe.num_experts from 1 to 65535"},
                  ErrorCode::corrupt,
                  "{}: '{}' holds all experts of a layer, and {}: correct \"num_experts\" under \"moe\" in params.json "
                  "(1 to 65535), or download it again",
                  tensors.files().path, printable(tensor.name),
                  experts ? fmt::format("their number is said to be {}", *experts) : "nothing says how many they are");
    }
    MOXIE_TRY_VOID(join_matrix(tensors, tensor, *found, *experts));
  }
  return {};
}

}  // namespace

extern constinit const QuantizedScheme expert_rows = {
    .name = "rows of all experts", .recognises = recognises, .join = join};

}  // namespace moxie::quantized

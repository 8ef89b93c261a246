// compressed-tensors, format "pack-quantized": ".weight_packed" of I32, row by row, beside ".weight_scale",
// ".weight_shape" and, where zero points are not in the middle, ".weight_zero_point".
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "core/fail.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kWeight = ".weight_packed";
constexpr int64_t kColumnsMax = int64_t{1} << 32;

bool recognises(const WeightFiles& files) {
  return std::any_of(files.tensors.begin(), files.tensors.end(),
                     [](const TensorInfo& tensor) { return tensor.name.ends_with(kWeight); });
}

// Rows and columns before packing.
Result<std::pair<int64_t, int64_t>> read_shape(const QuantizedTensors& tensors, std::string_view module) {
  MOXIE_TRY(const TensorInfo* tensor, tensors.need(module, ".weight_shape", {"I64", "I32"}, 1));
  const bool wide = tensor->dtype == "I64";
  MOXIE_TRY(const std::vector<std::byte> bytes, tensors.read(*tensor));
  if (bytes.size() != (wide ? 16 : 8)) return tensors.wrong(*tensor, "should hold two numbers");
  int64_t numbers[2];
  if (wide) {
    std::memcpy(numbers, bytes.data(), sizeof numbers);
  } else {
    int32_t narrow[2];
    std::memcpy(narrow, bytes.data(), sizeof narrow);
    std::copy(narrow, narrow + 2, numbers);
  }
  if (numbers[0] < 1 || numbers[0] > kColumnsMax || numbers[1] < 1 || numbers[1] > kColumnsMax)
    return tensors.wrong(*tensor, fmt::format("says [{}, {}], no shape of a matrix", numbers[0], numbers[1]));
  return std::pair(numbers[0], numbers[1]);
}

Result<void> check_plain(const QuantizedTensors& tensors, std::string_view module) {
  const TensorInfo* index = tensors.beside(module, ".weight_g_idx");
  if (index == nullptr) return {};
  return fail(
      Diagnosis{.code = "quantized-otherwise", .found = printable(index->name), .expected = "inputs in their order"},
      ErrorCode::unsupported,
      "{}: '{}' has its inputs in another order (activation ordering), which moxie does not compute for "
      "compressed-tensors; get a version without, or a GGUF file of the model",
      tensors.files().path, printable(index->name));
}

Result<void> join_module(QuantizedTensors& tensors, std::string_view module) {
  MOXIE_TRY(const TensorInfo* words, tensors.need(module, kWeight, {"I32"}, 2));
  MOXIE_TRY(const TensorInfo* scales, tensors.need(module, ".weight_scale", {"F16", "BF16", "F32"}, 2));
  MOXIE_TRY(const auto shape, read_shape(tensors, module));
  MOXIE_TRY_VOID(check_plain(tensors, module));
  const auto [rows, columns] = shape;
  const int64_t bits = words->shape[1] > 0 && columns <= INT64_MAX / 32 ? words->shape[1] * 32 / columns : 0;
  const int64_t groups = scales->shape[1];
  const bool fits = words->shape[0] == rows && (bits == 4 || bits == 8) && words->shape[1] * 32 == columns * bits &&
                    scales->shape[0] == rows && groups >= 1 && columns % groups == 0 && columns / groups % 8 == 0;
  if (!fits)
    return tensors.wrong(*words, fmt::format("and its scales [{}] do not fit a matrix of [{}, {}] of 4 or 8 bits",
                                             fmt::join(scales->shape, ", "), rows, columns));
  const int64_t group = columns / groups, per_word = 32 / bits;
  const bool native = bits == 4 && group % 32 == 0;
  if (!native) {
    tensors.notice_once(
        fmt::format("compressed-tensors weights of {} bits in groups of {} have no kernel of their "
                    "own: they are decoded as they are used, which is slower",
                    bits, group));
  }
  const PartedLayout layout = {
      .group = group, .bits = static_cast<uint8_t>(bits), .scales = *scale_format(scales->dtype)};
  const std::string dtype = fmt::format("compressed-tensors {}-bit", bits);
  tensors.drop(*tensors.beside(module, ".weight_shape"));
  const TensorInfo* zeros = tensors.beside(module, ".weight_zero_point");
  if (zeros == nullptr)
    return tensors.join(module, native ? "packed4" : "packed", dtype, {rows, columns}, layout, {{words}, {scales}});
  if (zeros->dtype != "I32" || zeros->shape != std::vector<int64_t>{(rows + per_word - 1) / per_word, groups})
    return tensors.wrong(*zeros, fmt::format("should be of I32 [{}, {}]", (rows + per_word - 1) / per_word, groups));
  return tensors.join(module, native ? "packed4" : "packed", dtype, {rows, columns}, layout,
                      {{words}, {scales}, {zeros, false}});
}

Result<void> join(QuantizedTensors& tensors) {
  for (const TensorInfo& tensor : tensors.files().tensors) {
    const auto module = before_ending(tensor.name, kWeight);
    if (module) MOXIE_TRY_VOID(join_module(tensors, *module));
  }
  return {};
}

}  // namespace

extern constinit const QuantizedScheme compressed_tensors = {
    .name = "compressed-tensors", .recognises = recognises, .join = join};

}  // namespace moxie::quantized

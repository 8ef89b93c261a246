// compressed-tensors. "pack-quantized": ".weight_packed" of I32, row by row, beside ".weight_scale", ".weight_shape"
// and, where zero points are not in the middle, ".weight_zero_point"; where inputs are in another order,
// ".weight_g_idx". "nvfp4-pack-quantized" and "mxfp4-pack-quantized": ".weight_packed" of U8, scales of one byte, and
// ".weight_global_scale", by which those of nvfp4 are divided. "int-quantized": ".weight" of I8.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/fail.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kWeight = ".weight_packed", kScale = ".weight_scale";
constexpr int64_t kColumnsMax = int64_t{1} << 32;

// bitsandbytes has ".weight" of I8 as well, with scales of another name.
bool is_int8(const WeightFiles& files, const TensorInfo& tensor) {
  const auto module = tensor.dtype == "I8" ? before_ending(tensor.name, ".weight") : std::nullopt;
  return module && files.find(fmt::format("{}{}", *module, kScale)) != nullptr;
}

bool recognises(const WeightFiles& files) {
  return std::any_of(files.tensors.begin(), files.tensors.end(), [&](const TensorInfo& tensor) {
    return tensor.name.ends_with(kWeight) || is_int8(files, tensor);
  });
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

// ".weight_g_idx", checked; null where it is absent or not used (all -1). Errors: corrupt.
Result<const TensorInfo*> read_order(const QuantizedTensors& tensors, std::string_view module, int64_t columns,
                                     int64_t groups) {
  const TensorInfo* index = tensors.beside(module, ".weight_g_idx");
  if (index == nullptr) return index;
  if (index->dtype != "I32" || index->shape != std::vector<int64_t>{columns})
    return tensors.wrong(*index, fmt::format("should be of I32 [{}]", columns));
  MOXIE_TRY(const std::vector<std::byte> bytes, tensors.read(*index));
  std::vector<int32_t> numbers(bytes.size() / sizeof(int32_t));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  const TensorInfo* unused = nullptr;
  if (std::all_of(numbers.begin(), numbers.end(), [](int32_t number) { return number == -1; })) return unused;
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] < 0 || numbers[i] >= groups)
      return tensors.wrong(*index,
                           fmt::format("says that input {} is of group {}; there are {}", i, numbers[i], groups));
  }
  return index;
}

Result<void> refuse_zero_points(const QuantizedTensors& tensors, std::string_view module) {
  const TensorInfo* zeros = tensors.beside(module, ".weight_zero_point");
  if (zeros == nullptr) return {};
  return fail(Diagnosis{.code = "quantized-otherwise", .found = printable(zeros->name), .expected = "no zero points"},
              ErrorCode::unsupported,
              "{}: '{}' gives zero points to weights of 4-bit floats or of signed bytes, which moxie does not compute; "
              "get a version without (symmetric), or a GGUF file of the model",
              tensors.files().path, printable(zeros->name));
}

// Two floats of 4 bits to a byte.
Result<void> join_floats(QuantizedTensors& tensors, std::string_view module, const TensorInfo& words) {
  MOXIE_TRY(const TensorInfo* scales, tensors.need(module, kScale, {"F8_E4M3", "U8"}, 2));
  MOXIE_TRY_VOID(refuse_zero_points(tensors, module));
  const bool nv = scales->dtype == "F8_E4M3";
  const int64_t group = nv ? 16 : 32, rows = words.shape[0], bytes = words.shape[1];
  if (rows < 1 || bytes < 1 || bytes > kColumnsMax || scales->shape != std::vector<int64_t>{rows, bytes * 2 / group} ||
      bytes * 2 % group != 0)
    return tensors.wrong(words, fmt::format("and its scales [{}] do not fit groups of {} numbers",
                                            fmt::join(scales->shape, ", "), group));
  PartedLayout layout = {.group = group, .bits = 4, .scales = nv ? ScaleFormat::e4m3 : ScaleFormat::e8m0};
  if (const TensorInfo* all = tensors.beside(module, ".weight_global_scale"); all != nullptr && nv) {
    if (all->dtype != "F32" || all->elements() != 1) return tensors.wrong(*all, "should be one number of F32");
    MOXIE_TRY(const std::vector<std::byte> number, tensors.read(*all));
    float value;
    std::memcpy(&value, number.data(), sizeof value);
    layout.constant = 1 / value;
    if (!std::isfinite(layout.constant) || layout.constant == 0)
      return tensors.wrong(*all, fmt::format("says {}, by which nothing can be divided", value));
    tensors.drop(*all);
  }
  if (nv) {
    tensors.notice_once(
        "weights of nvfp4 have no kernel of their own: they are decoded as they are used, which is slower");
  }
  return tensors.join(module, nv ? "mlx_float" : "mlx_mxfp4", nv ? "NVFP4" : "MXFP4", {rows, bytes * 2}, layout,
                      {{&words}, {scales}});
}

Result<void> join_bytes(QuantizedTensors& tensors, std::string_view module, const TensorInfo& numbers) {
  MOXIE_TRY_VOID(refuse_zero_points(tensors, module));
  const TensorInfo* scales = tensors.beside(module, kScale);
  const auto format = scale_format(scales->dtype);
  if (numbers.shape.size() != 2 || numbers.shape[0] < 1 || numbers.shape[1] < 1 || numbers.shape[1] % 32 != 0)
    return tensors.wrong(numbers, "should be a matrix with rows of a multiple of 32 numbers");
  const int64_t rows = numbers.shape[0], count = scales->elements();
  if (!format || (count != rows && count != 1))
    return tensors.wrong(*scales, fmt::format("should be floats, one for each of {} rows or one for all", rows));
  return tensors.join(module, "int8_rows", "compressed-tensors int8", numbers.shape,
                      {.group = numbers.shape[1], .group_rows = count == 1 ? rows : 1, .bits = 8, .scales = *format},
                      {{&numbers}, {scales, count == rows}});
}

Result<void> join_module(QuantizedTensors& tensors, std::string_view module) {
  MOXIE_TRY(const TensorInfo* words, tensors.need(module, kWeight, {"I32", "U8"}, 2));
  if (words->dtype == "U8") return join_floats(tensors, module, *words);
  MOXIE_TRY(const TensorInfo* scales, tensors.need(module, kScale, {"F16", "BF16", "F32"}, 2));
  MOXIE_TRY(const auto shape, read_shape(tensors, module));
  const auto [rows, columns] = shape;
  const int64_t bits = words->shape[1] > 0 && columns <= INT64_MAX / 32 ? words->shape[1] * 32 / columns : 0;
  const int64_t groups = scales->shape[1];
  const bool fits = words->shape[0] == rows && (bits == 4 || bits == 8) && words->shape[1] * 32 == columns * bits &&
                    scales->shape[0] == rows && groups >= 1 && columns % groups == 0 && columns / groups % 8 == 0;
  if (!fits)
    return tensors.wrong(*words, fmt::format("and its scales [{}] do not fit a matrix of [{}, {}] of 4 or 8 bits",
                                             fmt::join(scales->shape, ", "), rows, columns));
  const int64_t group = columns / groups, per_word = 32 / bits;
  MOXIE_TRY(const TensorInfo* order, read_order(tensors, module, columns, groups));
  const bool native = bits == 4 && group % 32 == 0 && order == nullptr;
  if (!native) {
    tensors.notice_once(
        fmt::format("compressed-tensors weights of {} bits in groups of {}{} have no kernel of their own: they are "
                    "decoded as they are used, which is slower",
                    bits, group, order == nullptr ? "" : " with inputs in another order"));
  }
  const PartedLayout layout = {
      .group = group, .bits = static_cast<uint8_t>(bits), .scales = *scale_format(scales->dtype)};
  const std::string dtype = fmt::format("compressed-tensors {}-bit", bits);
  tensors.drop(*tensors.beside(module, ".weight_shape"));
  if (const TensorInfo* unused = tensors.beside(module, ".weight_g_idx")) tensors.drop(*unused);
  const TensorInfo* zeros = tensors.beside(module, ".weight_zero_point");
  if (zeros == nullptr && order != nullptr)
    return tensors.join(module, "packed_order", dtype, {rows, columns}, layout, {{words}, {scales}, {order, false}});
  if (zeros == nullptr)
    return tensors.join(module, native ? "packed4" : "packed", dtype, {rows, columns}, layout, {{words}, {scales}});
  if (zeros->dtype != "I32" || zeros->shape != std::vector<int64_t>{(rows + per_word - 1) / per_word, groups})
    return tensors.wrong(*zeros, fmt::format("should be of I32 [{}, {}]", (rows + per_word - 1) / per_word, groups));
  if (order != nullptr) {
    return tensors.join(module, "packed_order", dtype, {rows, columns}, layout,
                        {{words}, {scales}, {order, false}, {zeros, false}});
  }
  return tensors.join(module, native ? "packed4" : "packed", dtype, {rows, columns}, layout,
                      {{words}, {scales}, {zeros, false}});
}

Result<void> join(QuantizedTensors& tensors) {
  for (const TensorInfo& tensor : tensors.files().tensors) {
    const auto module = before_ending(tensor.name, kWeight);
    if (module) MOXIE_TRY_VOID(join_module(tensors, *module));
    if (is_int8(tensors.files(), tensor))
      MOXIE_TRY_VOID(join_bytes(tensors, *before_ending(tensor.name, ".weight"), tensor));
  }
  return {};
}

}  // namespace

extern constinit const QuantizedScheme compressed_tensors = {
    .name = "compressed-tensors", .recognises = recognises, .join = join};

}  // namespace moxie::quantized

// FP8: ".weight" of F8_E4M3 beside ".weight_scale_inv", a factor for every block of rows and columns (in spite of the
// name it multiplies), or ".weight_scale", one for every row or one for all.
#include <fmt/ranges.h>

#include <algorithm>

#include "core/fail.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kEndings[] = {".weight_scale_inv", ".weight_scale"};

bool recognises(const WeightFiles& files) {
  return std::any_of(files.tensors.begin(), files.tensors.end(), [](const TensorInfo& tensor) {
    return tensor.name.ends_with(kWeight) && tensor.dtype == "F8_E4M3";
  });
}

struct Blocks {
  int64_t rows = 1, columns = 1;
};

// How many rows and columns share a scale.
Result<Blocks> find_blocks(const QuantizedTensors& tensors, const TensorInfo& numbers, const TensorInfo& scales) {
  const int64_t rows = numbers.shape[0], columns = numbers.shape[1];
  if (scales.elements() == 1) return Blocks{rows, columns};
  const std::vector<int64_t>& shape = scales.shape;
  const bool of_rows = shape == std::vector<int64_t>{rows} || shape == std::vector<int64_t>{rows, 1};
  if (of_rows) return Blocks{1, columns};
  const auto sizes =
      tensors.metadata().integers("quantization_config.weight_block_size").value_or(std::vector<int64_t>{128, 128});
  if (sizes.size() == 2 && sizes[0] >= 1 && sizes[1] >= 1 && shape.size() == 2 &&
      shape[0] == (rows - 1) / sizes[0] + 1 && shape[1] == (columns - 1) / sizes[1] + 1) {
    return Blocks{sizes[0], sizes[1]};
  }
  return tensors.wrong(scales,
                       fmt::format("does not fit '{}' of [{}]: neither one scale, nor one for every row, nor "
                                   "one for every block of [{}]",
                                   printable(numbers.name), fmt::join(numbers.shape, ", "), fmt::join(sizes, ", ")));
}

Result<void> join_module(QuantizedTensors& tensors, std::string_view module, const TensorInfo& numbers) {
  if (numbers.shape.size() != 2 || numbers.elements() < 1) return tensors.wrong(numbers, "should be a matrix");
  const TensorInfo* scales = nullptr;
  for (const std::string_view ending : kEndings) {
    if (scales == nullptr) scales = tensors.beside(module, ending);
  }
  if (scales == nullptr) return tensors.need(module, kEndings[0], {"F32"}, 2).error();
  const auto format = scale_format(scales->dtype);
  if (!format) return tensors.wrong(*scales, "should be of F32, BF16 or F16");
  MOXIE_TRY(const Blocks blocks, find_blocks(tensors, numbers, *scales));
  if (const TensorInfo* inputs = tensors.beside(module, ".input_scale"); inputs != nullptr) tensors.drop(*inputs);
  tensors.notice_once("FP8 weights have no kernel of their own: they are decoded as they are used, which is slower");
  return tensors.join(module, "fp8", "FP8", numbers.shape,
                      {.group = blocks.columns, .group_rows = blocks.rows, .bits = 8, .scales = *format},
                      {{&numbers, false}, {scales, false}});
}

Result<void> join(QuantizedTensors& tensors) {
  for (const TensorInfo& tensor : tensors.files().tensors) {
    const auto module = before_ending(tensor.name, kWeight);
    if (module && tensor.dtype == "F8_E4M3") MOXIE_TRY_VOID(join_module(tensors, *module, tensor));
  }
  return {};
}

}  // namespace

extern constinit const QuantizedScheme fp8 = {.name = "FP8", .recognises = recognises, .join = join};

}  // namespace moxie::quantized

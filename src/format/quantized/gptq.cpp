// GPTQ: ".qweight", ".qzeros", ".scales" and mostly ".g_idx" of I32 and floats, inputs outermost. Which group an input
// belongs to, ".g_idx" says: where it is not simply input / group_size, the matrix is decoded as it is used.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/fail.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kWeight = ".qweight";
constexpr int64_t kInputsMax = int64_t{1} << 24;
constexpr std::array<int64_t, 4> kBits = {2, 3, 4, 8};

// AWQ has the same names; its words are packed along the outputs, so that there are fewer of them to a row than scales.
bool recognises(const WeightFiles& files) {
  return std::any_of(files.tensors.begin(), files.tensors.end(), [&](const TensorInfo& tensor) {
    const auto module = before_ending(tensor.name, kWeight);
    const TensorInfo* scales = module ? files.find(fmt::format("{}.scales", *module)) : nullptr;
    return scales != nullptr && tensor.shape.size() == 2 && scales->shape.size() == 2 &&
           tensor.shape[1] == scales->shape[1];
  });
}

struct Settings {
  int64_t zero_step = 1;  // what zero points are stored too low by
};

Result<Settings> read_settings(const QuantizedTensors& tensors) {
  const Metadata& md = tensors.metadata();
  std::string format = md.text("quantization_config.checkpoint_format").value_or("gptq");
  if (md.boolean("quantization_config.is_marlin_format").value_or(false)) format = "marlin";
  if (format == "gptq") return Settings{1};
  if (format == "gptq_v2") return Settings{0};
  return fail(Diagnosis{.code = "quantized-otherwise",
                        .found = fmt::format("checkpoint_format {}", printable(format)),
                        .expected = "gptq or gptq_v2"},
              ErrorCode::unsupported,
              "{}: its GPTQ weights are laid out for '{}' kernels (quantization_config.checkpoint_format); moxie reads "
              "'gptq' and 'gptq_v2': get the revision in one of these, or a GGUF file of the model",
              tensors.files().path, printable(format));
}

// How many bits: by the shapes, since a row has 32 / bits numbers to a word in two of its parts.
Result<int64_t> find_bits(const QuantizedTensors& tensors, const TensorInfo& words, const TensorInfo& zeros) {
  const int64_t outputs = words.shape[1];
  for (const int64_t bits : kBits) {
    if (outputs % 32 == 0 || bits != 3) {
      if (zeros.shape[1] == outputs * bits / 32 && outputs * bits % 32 == 0) return bits;
    }
  }
  return tensors.wrong(
      zeros, fmt::format("does not fit the {} outputs of '{}' at 2, 3, 4 or 8 bits", outputs, printable(words.name)));
}

enum class Order : uint8_t { plain, shuffled };

// What g_idx says, checked.
Result<Order> read_order(const QuantizedTensors& tensors, const TensorInfo& index, int64_t group, int64_t groups) {
  MOXIE_TRY(const std::vector<std::byte> bytes, tensors.read(index));
  bool plain = true;
  for (int64_t i = 0; i < index.shape[0]; ++i) {
    int32_t number;
    std::memcpy(&number, bytes.data() + i * 4, sizeof number);
    if (number < -groups || number >= groups)
      return tensors.wrong(index, fmt::format("says that input {} is of group {}; there are {}", i, number, groups));
    plain = plain && number == i / group;
  }
  return plain ? Order::plain : Order::shuffled;
}

Result<void> join_module(QuantizedTensors& tensors, std::string_view module, const Settings& settings) {
  MOXIE_TRY(const TensorInfo* words, tensors.need(module, kWeight, {"I32", "U32"}, 2));
  MOXIE_TRY(const TensorInfo* zeros, tensors.need(module, ".qzeros", {"I32", "U32"}, 2));
  MOXIE_TRY(const TensorInfo* scales, tensors.need(module, ".scales", {"F16", "BF16", "F32"}, 2));
  const int64_t outputs = words->shape[1], groups = scales->shape[0];
  MOXIE_TRY(const int64_t bits, find_bits(tensors, *words, *zeros));
  if (words->shape[0] < 1 || words->shape[0] > kInputsMax || outputs < 1 || words->shape[0] * 32 % bits != 0)
    return tensors.wrong(*words, fmt::format("holds no whole columns at {} bits", bits));
  const int64_t inputs = words->shape[0] * 32 / bits;
  if (scales->shape[1] != outputs || zeros->shape[0] != groups || groups < 1 || groups > inputs)
    return tensors.wrong(
        *scales, fmt::format("does not belong to '{}' of [{}]", printable(words->name), fmt::join(words->shape, ", ")));
  // As configured where that gives as many groups, else evenly.
  int64_t group = tensors.metadata().integer("quantization_config.group_size").value_or(0);
  if (group < 1 || group > inputs || (inputs + group - 1) / group != groups) group = (inputs + groups - 1) / groups;
  if ((inputs + group - 1) / group != groups)
    return tensors.wrong(*scales, fmt::format("has {} groups, into which {} inputs cannot be divided", groups, inputs));
  const TensorInfo* index = tensors.beside(module, ".g_idx");
  Order order = Order::plain;
  if (index != nullptr) {
    MOXIE_TRY(index, tensors.need(module, ".g_idx", {"I32", "U32"}, 1));
    if (index->shape[0] != inputs) return tensors.wrong(*index, fmt::format("should have {} numbers", inputs));
    if (groups > 1) {
      MOXIE_TRY(order, read_order(tensors, *index, group, groups));
    }
    tensors.drop(*index);
  }
  const bool half = scales->dtype == "F16";
  const bool native = bits == 4 && order == Order::plain && group % 32 == 0 && inputs % group == 0 && half;
  if (!native) {
    tensors.notice_once(fmt::format(
        "GPTQ weights of {} bits{}{} have no kernel of their own: they are decoded as they are used, which is slower",
        bits, order == Order::shuffled ? " with inputs in another order (desc_act)" : "",
        half ? "" : fmt::format(" with scales of {}", scales->dtype)));
  }
  const PartedLayout layout = {.group = group,
                               .bits = static_cast<uint8_t>(bits),
                               .scales = *scale_format(scales->dtype),
                               .zero_step = static_cast<int8_t>(settings.zero_step)};
  const std::string dtype = fmt::format("GPTQ {}-bit", bits);
  if (order == Order::shuffled) {
    return tensors.join(module, "gptq", dtype, {outputs, inputs}, layout,
                        {{words, false}, {zeros, false}, {scales, false}, {index, false}});
  }
  return tensors.join(module, native ? "gptq4" : "gptq", dtype, {outputs, inputs}, layout,
                      {{words, false}, {zeros, false}, {scales, false}});
}

Result<void> join(QuantizedTensors& tensors) {
  MOXIE_TRY(const Settings settings, read_settings(tensors));
  for (const TensorInfo& tensor : tensors.files().tensors) {
    const auto module = before_ending(tensor.name, kWeight);
    if (module) MOXIE_TRY_VOID(join_module(tensors, *module, settings));
  }
  return {};
}

}  // namespace

extern constinit const QuantizedScheme gptq = {.name = "GPTQ", .recognises = recognises, .join = join};

}  // namespace moxie::quantized

#include "format/formats/safetensors_mlx.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "core/check.h"

namespace moxie {
namespace {

constexpr std::array kBits = {2, 3, 4, 5, 6, 8};
constexpr std::array kGroups = {32, 64, 128};
constexpr int64_t kColumnsMax = int64_t{1} << 32;

void never_decoded(const std::byte*, float*, int64_t) {
  MOXIE_CHECK(!"MLX tensors are sized, not decoded");
}

// A group of values: `bits` for each, and a scale and a bias of two bytes.
constexpr auto kTypes = [] {
  std::array<QuantType, kBits.size() * kGroups.size()> types{};
  for (size_t i = 0; i < types.size(); ++i) {
    const int bits = kBits[i / kGroups.size()], group = kGroups[i % kGroups.size()];
    types[i].name = "mlx";
    types[i].block_values = group;
    types[i].block_bytes = group * bits / 8 + 4;
    types[i].decode = never_decoded;
  }
  return types;
}();

// What config.json says of a module, or of all; else MLX's own default.
int64_t setting(const WeightFiles& files, std::string_view module, std::string_view name, int64_t fallback) {
  for (const std::string& key : {fmt::format("quantization.{}.{}", module, name), fmt::format("quantization.{}", name),
                                 fmt::format("quantization_config.{}", name)}) {
    if (const auto value = files.metadata.integer(key)) return *value;
  }
  return fallback;
}

// The tensor that a triple stands for.
std::optional<TensorInfo> whole_of(const TensorInfo& words, const TensorInfo& scales, const TensorInfo& biases,
                                   int64_t bits, int64_t group) {
  if (words.dtype != "U32" || scales.shape != biases.shape || scales.dtype != biases.dtype) return std::nullopt;
  if (scales.dtype != "F16" && scales.dtype != "BF16") return std::nullopt;
  if (words.shape.empty() || words.shape.size() != scales.shape.size()) return std::nullopt;
  if (!std::equal(words.shape.begin(), words.shape.end() - 1, scales.shape.begin())) return std::nullopt;
  const int64_t packed = words.shape.back(), groups = scales.shape.back();
  if (packed < 1 || packed > kColumnsMax || groups < 1 || groups > kColumnsMax) return std::nullopt;
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (kBits[i / kGroups.size()] != bits || kGroups[i % kGroups.size()] != group) continue;
    if (packed * 32 != groups * group * bits) return std::nullopt;
    TensorInfo whole = words;
    whole.type = &kTypes[i];
    whole.dtype = fmt::format("MLX {}-bit", bits);
    whole.shape.back() = groups * group;
    whole.bytes = words.bytes + scales.bytes + biases.bytes;
    return whole;
  }
  return std::nullopt;
}

}  // namespace

std::optional<WeightFiles> size_mlx(const WeightFiles& files) {
  WeightFiles sized;
  bool any = false;
  const auto beside = [&](const std::string& name, std::string_view ending) -> const TensorInfo* {
    const size_t dot = name.rfind('.');
    return dot == std::string::npos ? nullptr : files.find(name.substr(0, dot) + std::string(ending));
  };
  for (const TensorInfo& tensor : files.tensors) {
    const bool quantized = beside(tensor.name, ".scales") != nullptr && beside(tensor.name, ".weight") != nullptr;
    if (quantized && (tensor.name.ends_with(".scales") || tensor.name.ends_with(".biases"))) continue;
    if (!quantized || !tensor.name.ends_with(".weight")) {
      sized.add(tensor);
      continue;
    }
    const TensorInfo* biases = beside(tensor.name, ".biases");
    if (biases == nullptr) return std::nullopt;
    const std::string_view module = std::string_view(tensor.name).substr(0, tensor.name.rfind('.'));
    auto whole = whole_of(tensor, *beside(tensor.name, ".scales"), *biases, setting(files, module, "bits", 4),
                          setting(files, module, "group_size", 64));
    if (!whole) return std::nullopt;
    sized.add(std::move(*whole));
    any = true;
  }
  if (!any) return std::nullopt;
  sized.path = files.path;
  sized.format = files.format;
  sized.scheme = files.scheme;
  sized.metadata = files.metadata;
  sized.files = files.files;
  sized.notices = files.notices;
  return sized;
}

}  // namespace moxie

// MLX: a module is quantized where it has ".scales"; ".weight" holds the packed numbers, ".biases" (affine mode) what
// is added to each group. How many bits and how long the groups are, config.json says for all modules and for single
// ones; the shapes have the last word. Experts may be stacked: then there is a leading dimension.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "core/fail.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kScales = ".scales";
constexpr int64_t kColumnsMax = int64_t{1} << 32;
constexpr std::array<int64_t, 6> kAffineBits = {2, 3, 4, 5, 6, 8};
constexpr int64_t kGroupStep = 8;  // so many values fill whole bytes at any width

bool recognises(const WeightFiles& files) {
  return std::any_of(files.tensors.begin(), files.tensors.end(), [&](const TensorInfo& tensor) {
    const auto module = before_ending(tensor.name, kScales);
    const TensorInfo* weight = module ? files.find(fmt::format("{}.weight", *module)) : nullptr;
    return weight != nullptr && weight->dtype == "U32";
  });
}

struct Settings {
  std::optional<int64_t> bits, group;
  std::string mode;
};

// What config.json says of a module: its own object first.
Settings settings_of(const Metadata& metadata, std::string_view module) {
  Settings settings;
  for (const char* object : {"quantization", "quantization_config"}) {
    for (const std::string& prefix : {fmt::format("{}.{}.", object, module), fmt::format("{}.", object)}) {
      if (!settings.bits) settings.bits = metadata.integer(prefix + "bits");
      if (!settings.group) settings.group = metadata.integer(prefix + "group_size");
      if (settings.mode.empty()) settings.mode = metadata.text(prefix + "mode").value_or("");
    }
  }
  return settings;
}

// Widths that matrices of the model have, by config.json.
std::vector<int64_t> known_columns(const Metadata& md) {
  std::vector<int64_t> known;
  for (const char* key :
       {"hidden_size", "intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"}) {
    if (const auto value = md.integer(key)) known.push_back(*value);
  }
  const auto heads = md.integer("num_attention_heads"), head_dim = md.integer("head_dim");
  if (heads && head_dim && *heads > 0 && *heads<kColumnsMax&& * head_dim> 0 && *head_dim < kColumnsMax)
    known.push_back(*heads * *head_dim);
  return known;
}

// The widths that a module of this name mostly has: most read the hidden state, "down" what comes of "gate" and "up".
std::vector<int64_t> likely_columns(const Metadata& md, std::string_view module) {
  const std::string_view name = module.substr(module.rfind('.') + 1);
  const bool down = name == "down_proj" || name == "w2" || name == "fc2";
  std::vector<int64_t> likely;
  for (const char* key : {"intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"}) {
    if (const auto value = md.integer(key); down && value) likely.push_back(*value);
  }
  if (const auto hidden = md.integer("hidden_size"); !down && hidden && name != "o_proj") likely.push_back(*hidden);
  return likely;
}

struct Width {
  int64_t bits = 0, group = 0;
};

// Of several widths those that `is_likely`; all of them where that leaves none.
template <typename Likely>
void narrow(std::vector<Width>& widths, const Likely& is_likely) {
  if (widths.size() < 2 || std::none_of(widths.begin(), widths.end(), is_likely)) return;
  std::erase_if(widths, [&](const Width& width) { return !is_likely(width); });
}

// What gives `packed` words of 32 bits and `groups` groups a row: as configured where that fits, else whatever gives a
// row as long as one of the model's. Errors: nothing does, or several.
Result<Width> find_width(const QuantizedTensors& tensors, std::string_view module, const TensorInfo& weight,
                         const TensorInfo& scales, const Settings& settings, std::span<const int64_t> candidates) {
  const int64_t packed = weight.shape.back(), groups = scales.shape.back();
  if (packed < 1 || packed > kColumnsMax || groups < 1 || groups > packed * 32)
    return tensors.wrong(weight,
                         fmt::format("and its scales [{}] do not belong together", fmt::join(scales.shape, ", ")));
  const std::vector<int64_t> known = known_columns(tensors.metadata());
  std::vector<Width> fitting, as_configured;
  for (const int64_t bits : candidates) {
    if (packed * 32 % (groups * bits) != 0) continue;
    const Width width{bits, packed * 32 / (groups * bits)};
    if (width.group % kGroupStep != 0) continue;
    if (settings.bits == bits && settings.group == width.group) as_configured.push_back(width);
    if (std::find(known.begin(), known.end(), width.group * groups) != known.end()) fitting.push_back(width);
  }
  const auto is_known = [&](const Width& width) {
    return std::find(known.begin(), known.end(), width.group * groups) != known.end();
  };
  if (!as_configured.empty() && (fitting.empty() || is_known(as_configured.front()))) return as_configured.front();
  const std::vector<int64_t> likely = likely_columns(tensors.metadata(), module);
  narrow(fitting, [&](const Width& width) {
    return std::find(likely.begin(), likely.end(), width.group * groups) != likely.end();
  });
  narrow(fitting, [](const Width& width) { return width.group == 32 || width.group == 64 || width.group == 128; });
  if (fitting.size() == 1) return fitting.front();
  const auto said = [](std::optional<int64_t> value) { return value ? fmt::format("{}", *value) : "nothing"; };
  return tensors.wrong(
      weight, fmt::format("and its scales [{}] do not fit what config.json says (bits: {}, group_size: {}){}",
                          fmt::join(scales.shape, ", "), said(settings.bits), said(settings.group),
                          fitting.empty() ? ", nor any other width" : ", and its shapes leave several widths open"));
}

Result<void> check_shapes(const QuantizedTensors& tensors, const TensorInfo& weight, const TensorInfo& beside) {
  const bool same = weight.shape.size() == beside.shape.size() && weight.shape.size() >= 2 &&
                    std::equal(weight.shape.begin(), weight.shape.end() - 1, beside.shape.begin());
  if (same) return {};
  return tensors.wrong(
      beside, fmt::format("does not belong to '{}' of [{}]", printable(weight.name), fmt::join(weight.shape, ", ")));
}

// Modules that are not as config.json says.
struct Differing {
  int64_t count = 0;
  std::string first;
  Width width;  // of the first
};

Result<void> join_affine(QuantizedTensors& tensors, std::string_view module, const TensorInfo& weight,
                         const TensorInfo& scales, const Settings& settings, Differing& differing) {
  MOXIE_TRY(const TensorInfo* biases, tensors.need(module, ".biases", {scales.dtype}, weight.shape.size()));
  if (biases->shape != scales.shape)
    return tensors.wrong(*biases,
                         fmt::format("should have the shape of its scales, [{}]", fmt::join(scales.shape, ", ")));
  const auto format = scale_format(scales.dtype);
  if (!format) return tensors.wrong(scales, "should be of F16, BF16 or F32");
  MOXIE_TRY(const Width width, find_width(tensors, module, weight, scales, settings, kAffineBits));
  if ((settings.bits && *settings.bits != width.bits) || (settings.group && *settings.group != width.group)) {
    if (differing.count++ == 0) differing = {.count = 1, .first = std::string(module), .width = width};
  }
  const bool whole_blocks = width.group % 32 == 0;
  const std::string_view type = whole_blocks && width.bits == 4   ? "mlx4"
                                : whole_blocks && width.bits == 8 ? "mlx8"
                                                                  : "mlx_affine";
  if (type == "mlx_affine") {
    tensors.notice_once(fmt::format(
        "MLX weights of {} bits in groups of {} have no kernel of their own: they are decoded as they are used, which "
        "is slower than 4 or 8 bits",
        width.bits, width.group));
  }
  std::vector<int64_t> shape = weight.shape;
  shape.back() = width.group * scales.shape.back();
  return tensors.join(module, type, fmt::format("MLX {}-bit", width.bits), std::move(shape),
                      {.group = width.group, .bits = static_cast<uint8_t>(width.bits), .scales = *format},
                      {{&weight}, {&scales}, {biases}});
}

// Modes whose scales are bytes.
struct FloatMode {
  std::string_view name;
  int64_t bits, group;
  ScaleFormat scales;
};
constexpr FloatMode kFloatModes[] = {
    {"mxfp4", 4, 32, ScaleFormat::e8m0},
    {"mxfp8", 8, 32, ScaleFormat::e8m0},
    {"nvfp4", 4, 16, ScaleFormat::e4m3},
};

Result<void> join_float(QuantizedTensors& tensors, std::string_view module, const TensorInfo& weight,
                        const TensorInfo& scales, const Settings& settings) {
  if (tensors.beside(module, ".global_scale") != nullptr) {
    return fail(Diagnosis{.code = "quantized-otherwise",
                          .found = fmt::format("{}.global_scale", printable(module)),
                          .expected = "scales of groups alone"},
                ErrorCode::unsupported,
                "{}: '{}' has a scale for the whole matrix (global_scale), which moxie does not compute; convert the "
                "model anew without one, or take its 4-bit affine version",
                tensors.files().path, printable(module));
  }
  const int64_t packed = weight.shape.back(), groups = scales.shape.back();
  for (const FloatMode& mode : kFloatModes) {
    if (!settings.mode.empty() && settings.mode != "affine" && settings.mode != mode.name) continue;
    if (packed < 1 || packed > kColumnsMax || groups < 1 || groups > kColumnsMax) break;
    if (packed * 32 != groups * mode.group * mode.bits) continue;
    const bool native = mode.name == "mxfp4";
    if (!native) {
      tensors.notice_once(fmt::format(
          "MLX weights of mode {} have no kernel of their own: they are decoded as they are used, which is slower",
          mode.name));
    }
    std::vector<int64_t> shape = weight.shape;
    shape.back() = groups * mode.group;
    return tensors.join(module, native ? "mlx_mxfp4" : "mlx_float", fmt::format("MLX {}", mode.name), std::move(shape),
                        {.group = mode.group, .bits = static_cast<uint8_t>(mode.bits), .scales = mode.scales},
                        {{&weight}, {&scales}});
  }
  return tensors.wrong(
      weight,
      fmt::format("and its scales [{}] fit no mode with scales of one byte{}; known are "
                  "mxfp4, mxfp8 and nvfp4",
                  fmt::join(scales.shape, ", "),
                  settings.mode.empty() ? "" : fmt::format(" (config.json says '{}')", printable(settings.mode))));
}

Result<void> join(QuantizedTensors& tensors) {
  Differing differing;
  for (const TensorInfo& scales : tensors.files().tensors) {
    const auto module = before_ending(scales.name, kScales);
    if (!module) continue;
    MOXIE_TRY(const TensorInfo* weight, tensors.need(*module, ".weight", {"U32"}, scales.shape.size()));
    MOXIE_TRY_VOID(check_shapes(tensors, *weight, scales));
    const Settings settings = settings_of(tensors.metadata(), *module);
    if (scales.dtype == "U8") {
      MOXIE_TRY_VOID(join_float(tensors, *module, *weight, scales, settings));
    } else {
      MOXIE_TRY_VOID(join_affine(tensors, *module, *weight, scales, settings, differing));
    }
  }
  if (differing.count > 0) {
    tensors.notice_once(fmt::format(
        "{} {} of {} bits in groups of {}, unlike what config.json says; their shapes count",
        differing.count == 1 ? fmt::format("'{}'", printable(differing.first))
                             : fmt::format("'{}' and {} more modules", printable(differing.first), differing.count - 1),
        differing.count == 1 ? "is" : "are", differing.width.bits, differing.width.group));
  }
  return {};
}

}  // namespace

extern constinit const QuantizedScheme mlx = {.name = "MLX", .recognises = recognises, .join = join};

}  // namespace moxie::quantized

// GPT-OSS as published and as transformers saves it. The experts of a layer are one tensor for gate and up, whose rows
// lie in turn (even ones are gate's), and one for down:
//   MXFP4  "X_blocks" of U8 (experts, rows, groups, 16), the first of two numbers in the low half of a byte, beside
//          "X_scales" of U8 (experts, rows, groups)
//   floats "X" (experts, columns, rows): transposed
// with "X_bias" (experts, rows). They come out as gate_proj, up_proj and down_proj, as others have them.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "core/fail.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kBlocks = "_blocks", kScales = "_scales", kBias = "_bias";
constexpr std::string_view kGateUp = ".experts.gate_up_proj", kDown = ".experts.down_proj";
constexpr int64_t kGroup = 32, kGroupBytes = 16;
constexpr int64_t kSizeMax = int64_t{1} << 32;

bool has_fused_experts(const WeightFiles& files) {
  const bool by_type = files.metadata.text("model_type").value_or("") == "gpt_oss";
  return std::any_of(files.tensors.begin(), files.tensors.end(), [&](const TensorInfo& tensor) {
    const size_t at = tensor.name.rfind(kGateUp);
    if (at == std::string::npos) return false;
    const std::string_view rest = std::string_view(tensor.name).substr(at + kGateUp.size());
    return rest == kBias || (by_type && (rest.empty() || rest == kBlocks));
  });
}

bool recognises(const WeightFiles& files) {
  const auto holds_blocks = [](const TensorInfo& tensor) {
    return tensor.dtype == "U8" && tensor.name.ends_with(kBlocks);
  };
  return has_fused_experts(files) || std::any_of(files.tensors.begin(), files.tensors.end(), holds_blocks);
}

// "P.experts.gate_proj" and "P.experts.up_proj" of "P.experts.gate_up_proj".
std::array<std::string, 2> apart(std::string_view gate_up) {
  const std::string_view prefix = gate_up.substr(0, gate_up.size() - std::string_view("gate_up_proj").size());
  return {fmt::format("{}gate_proj", prefix), fmt::format("{}up_proj", prefix)};
}

class Joiner {
 public:
  explicit Joiner(QuantizedTensors& tensors) : tensors_(tensors) {
    const Metadata& md = tensors.metadata();
    experts_ = md.integer("num_local_experts");
    hidden_ = md.integer("hidden_size");
    inner_ = md.integer("intermediate_size");
    fused_ = has_fused_experts(tensors.files());
  }

  Result<void> join(const TensorInfo& tensor) {
    if (const auto module = before_ending(tensor.name, kBlocks)) return join_blocks(*module, tensor);
    const auto scaled = before_ending(tensor.name, kScales);
    if (scaled && tensor.dtype == "U8") {
      MOXIE_TRY_VOID(tensors_.need(*scaled, kBlocks, {"U8"}, tensor.shape.size() + 1));
      return {};
    }
    if (!fused_) return {};  // other models may have names like these
    if (tensor.name.ends_with(kGateUp)) return join_gate_up(tensor);
    if (tensor.name.ends_with(kDown)) return join_down(tensor);
    if (const auto module = before_ending(tensor.name, kBias)) {
      if (module->ends_with(kGateUp)) return join_biases(*module, tensor);
      if (module->ends_with(kDown)) return keep_bias(*module, tensor);
    }
    return {};
  }

 private:
  bool sizes_are_known() const {
    const auto known = [](const std::optional<int64_t>& size) { return size && *size > 0 && *size < kSizeMax; };
    return known(experts_) && known(hidden_) && known(inner_);
  }
  // A tensor must have this shape, where config.json tells the sizes.
  Result<void> expect(const TensorInfo& tensor, const std::vector<int64_t>& shape) const {
    if (!sizes_are_known() || tensor.shape == shape) return {};
    return tensors_.wrong(
        tensor,
        fmt::format("should be [{}] by config.json (num_local_experts {}, hidden_size {}, intermediate_size {})",
                    fmt::join(shape, ", "), *experts_, *hidden_, *inner_));
  }
  std::vector<int64_t> expected(bool gate_up) const {
    if (!sizes_are_known()) return {};
    return gate_up ? std::vector{*experts_, 2 * *inner_, *hidden_} : std::vector{*experts_, *hidden_, *inner_};
  }

  // Without biases the answers would be wrong, and the names of the apart ones would say little.
  Result<void> need_bias(std::string_view module, const TensorInfo& matrices) const {
    if (!fused_ || tensors_.beside(module, kBias) != nullptr) return {};
    const std::string name = fmt::format("{}{}", module, kBias);
    return fail(Diagnosis{.code = "missing-tensor",
                          .found = printable(matrices.name),
                          .expected = printable(name),
                          .near_miss = tensors_.files().nearest(name)},
                ErrorCode::corrupt,
                "{}: '{}' is there, but its '{}' is missing; the files are incomplete or of different models: download "
                "them again",
                tensors_.files().path, printable(matrices.name), printable(name));
  }

  Result<void> join_blocks(std::string_view module, const TensorInfo& blocks) {
    if (blocks.shape.size() < 3 || blocks.dtype != "U8" || blocks.shape.back() != kGroupBytes)
      return tensors_.wrong(blocks, fmt::format("should be of U8 [..., rows, groups, {}]", kGroupBytes));
    const bool gate_up = module.ends_with(kGateUp);
    if (gate_up || module.ends_with(kDown)) MOXIE_TRY_VOID(need_bias(module, blocks));
    if (std::vector<int64_t> shape = expected(gate_up); !shape.empty() && (gate_up || module.ends_with(kDown))) {
      shape.back() /= kGroup;
      shape.push_back(kGroupBytes);
      MOXIE_TRY_VOID(expect(blocks, shape));
    }
    MOXIE_TRY(const TensorInfo* scales, tensors_.need(module, kScales, {"U8"}, blocks.shape.size() - 1));
    std::vector<int64_t> shape(blocks.shape.begin(), blocks.shape.end() - 1);
    if (scales->shape != shape)
      return tensors_.wrong(*scales,
                            fmt::format("should have the shape [{}], as its blocks have", fmt::join(shape, ", ")));
    if (shape.back() < 1 || shape.back() > kSizeMax) return tensors_.wrong(blocks, "holds no rows of weights");
    shape.back() *= kGroup;
    PartedLayout layout = {.group = kGroup, .bits = 4, .scales = ScaleFormat::e8m0};
    if (!gate_up) return tensors_.join(module, "mlx_mxfp4", "MXFP4", std::move(shape), layout, {{&blocks}, {scales}});
    int64_t& rows = shape[shape.size() - 2];
    if (rows % 2 != 0) return tensors_.wrong(blocks, "should have as many rows of gate as of up");
    rows /= 2;
    layout.row_step = 2;
    for (const std::string& name : apart(module)) {
      MOXIE_TRY_VOID(tensors_.join(name, "mlx_mxfp4", "MXFP4", shape, layout, {{&blocks}, {scales}}));
      layout.row_begin = 1;
    }
    return {};
  }

  // Errors: not of floats, or not of so many dimensions.
  Result<ScaleFormat> floats_of(const TensorInfo& tensor, size_t rank) const {
    const auto format = scale_format(tensor.dtype);
    if (!format) return tensors_.wrong(tensor, "should be of BF16, F16 or F32, or MXFP4 in _blocks and _scales");
    const bool sizes_fit =
        std::all_of(tensor.shape.begin(), tensor.shape.end(), [](int64_t size) { return size > 0 && size < kSizeMax; });
    if (tensor.shape.size() != rank || !sizes_fit)
      return tensors_.wrong(tensor, fmt::format("should have {} dimensions, none of them 0", rank));
    return *format;
  }
  static std::string strided_type(ScaleFormat format) {
    return format == ScaleFormat::bf16 ? "strided_bf16" : format == ScaleFormat::f16 ? "strided_f16" : "strided_f32";
  }
  static PartedLayout strided(ScaleFormat format) {
    return {.group = 1, .bits = static_cast<uint8_t>(format == ScaleFormat::f32 ? 32 : 16), .scales = format};
  }

  Result<void> join_gate_up(const TensorInfo& both) {
    MOXIE_TRY(const ScaleFormat format, floats_of(both, 3));
    MOXIE_TRY_VOID(need_bias(both.name, both));
    if (sizes_are_known()) MOXIE_TRY_VOID(expect(both, {*experts_, *hidden_, 2 * *inner_}));
    const int64_t columns = both.shape[1], stored_rows = both.shape[2];
    if (stored_rows % 2 != 0) return tensors_.wrong(both, "should have as many columns of gate as of up");
    PartedLayout layout = strided(format);
    layout.row_step = 2;
    layout.column_step = stored_rows;
    layout.group_rows = stored_rows / 2;
    for (const std::string& name : apart(both.name)) {
      MOXIE_TRY_VOID(tensors_.join(name, strided_type(format), both.dtype, {both.shape[0], stored_rows / 2, columns},
                                   layout, {{&both}}));
      layout.row_begin = 1;
    }
    return {};
  }

  Result<void> join_down(const TensorInfo& down) {
    MOXIE_TRY(const ScaleFormat format, floats_of(down, 3));
    MOXIE_TRY_VOID(need_bias(down.name, down));
    if (sizes_are_known()) MOXIE_TRY_VOID(expect(down, {*experts_, *inner_, *hidden_}));
    const int64_t columns = down.shape[1], rows = down.shape[2];
    PartedLayout layout = strided(format);
    layout.column_step = rows;
    layout.group_rows = rows;
    return tensors_.join(down.name, strided_type(format), down.dtype, {down.shape[0], rows, columns}, layout,
                         {{&down}});
  }

  Result<void> join_biases(std::string_view module, const TensorInfo& both) {
    MOXIE_TRY(const ScaleFormat format, floats_of(both, 2));
    if (sizes_are_known()) MOXIE_TRY_VOID(expect(both, {*experts_, 2 * *inner_}));
    if (both.shape[1] % 2 != 0) return tensors_.wrong(both, "should have as many numbers of gate as of up");
    PartedLayout layout = strided(format);
    layout.row_step = 2;
    layout.column_step = 2;
    for (const std::string& name : apart(module)) {
      MOXIE_TRY_VOID(tensors_.join_as(name + ".bias", strided_type(format), both.dtype,
                                      {both.shape[0], both.shape[1] / 2}, layout, {{&both}}));
      layout.row_begin = 1;
    }
    return {};
  }

  Result<void> keep_bias(std::string_view module, const TensorInfo& bias) {
    if (sizes_are_known()) MOXIE_TRY_VOID(expect(bias, {*experts_, *hidden_}));
    tensors_.keep_as(bias, fmt::format("{}.bias", module), bias.shape);
    return {};
  }

  QuantizedTensors& tensors_;
  std::optional<int64_t> experts_, hidden_, inner_;
  bool fused_ = false;
};

Result<void> join(QuantizedTensors& tensors) {
  Joiner joiner(tensors);
  for (const TensorInfo& tensor : tensors.files().tensors) MOXIE_TRY_VOID(joiner.join(tensor));
  return {};
}

}  // namespace

extern constinit const QuantizedScheme gpt_oss = {.name = "GPT-OSS", .recognises = recognises, .join = join};

}  // namespace moxie::quantized

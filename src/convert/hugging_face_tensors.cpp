#include "convert/hugging_face_tensors.h"

#include <algorithm>
#include <array>

#include "core/fail.h"
#include "core/printable.h"
#include "format/tensor_values.h"
#include "model/tensors.h"

namespace moxie {
namespace {

class HuggingFaceCollector {
 public:
  HuggingFaceCollector(const WeightFiles& source, const ModelPlan& plan, const QuantType* type, Log& log)
      : source_(source), plan_(plan), type_(type), log_(log) {}

  Result<std::vector<OutputTensor>> collect() {
    if (plan_.hp.router.experts > 0 && plan_.family->experts.empty()) {
      return fail(ErrorCode::unsupported, "{}: {} has no names for experts with a tensor each", source_.path,
                  plan_.family->name);
    }
    if (plan_.roles[static_cast<size_t>(Role::expert_gate_bias)][0].weight != nullptr) {
      return fail(ErrorCode::unsupported,
                  "{}: moxie writes no safetensors for the family {}, whose experts have biases; convert it to GGUF",
                  source_.path, plan_.family->name);
    }
    add_role(Role::token_embd, 0);
    for (int64_t layer = 0; layer < plan_.hp.layers; ++layer) {
      for (size_t r = 0; r < plan_.roles.size(); ++r) {
        if (is_per_layer(*plan_.family, static_cast<Role>(r))) add_role(static_cast<Role>(r), layer);
      }
      add_experts(layer);
    }
    add_role(Role::output_norm, 0);
    add_role(Role::output, 0);
    for (OutputTensor& tensor : tensors_) MOXIE_TRY_VOID(choose_type(tensor));
    MOXIE_TRY_VOID(narrow_small_ones());
    if (decoded_ > 0) {
      log_.notice(fmt::format("{} quantized tensors ({}) are decoded and rounded to BF16; --type f32 loses nothing",
                              decoded_, decoded_from_));
    }
    return std::move(tensors_);
  }

 private:
  void add_role(Role role, int64_t layer) {
    const RoleTensor& found = plan_.roles[static_cast<size_t>(role)][static_cast<size_t>(layer)];
    const std::string stem = role_name(*plan_.family, NameScheme::hugging_face, role, layer);
    const bool tied =
        role == Role::output && found.weight == plan_.roles[static_cast<size_t>(Role::token_embd)][0].weight;
    if (found.weight == nullptr || stem.empty() || tied) return;
    const bool reorders = !plan_.hp.rope.neox && (role == Role::attn_q || role == Role::attn_k);
    for (const TensorInfo* tensor : {found.weight, found.bias}) {
      if (tensor == nullptr) continue;
      OutputTensor out{.name = stem + (tensor == found.weight ? ".weight" : ".bias"),
                       .shape = tensor->shape,
                       .pieces = {whole_tensor(*tensor)}};
      if (role == Role::shared_router) out.shape = {1, tensor->elements()};  // a matrix of one row there
      if (reorders) {
        out.head_rows = HeadRows::pairs_to_halves;
        out.head_size = plan_.hp.head_dim;
        ProjectionRecord& piece = out.pieces.front();
        if (tensor == found.bias) std::swap(piece.rows, piece.columns);
      }
      tensors_.push_back(std::move(out));
    }
  }

  void add_experts(int64_t layer) {
    const auto& experts = plan_.experts.experts[static_cast<size_t>(layer)];
    for (size_t id = 0; id < experts.size(); ++id) {
      const ExpertNames& names = plan_.family->experts.front();
      for (const auto& [pattern, record] :
           {std::pair{names.gate, &experts[id].gate}, std::pair{names.up, &experts[id].up},
            std::pair{names.down, &experts[id].down}}) {
        tensors_.push_back({.name = fmt::format(fmt::runtime(pattern), layer, id) + ".weight",
                            .shape = {record->rows, record->columns},
                            .pieces = {*record}});
      }
    }
  }

  Result<void> choose_type(OutputTensor& tensor) {
    const TensorInfo& from = *tensor.pieces.front().tensor;
    if (!from.type->computable()) {
      return fail(ErrorCode::unsupported,
                  "{}: '{}' is {}, which moxie recognises but cannot decode; convert another quantization of the same "
                  "model",
                  source_.path, printable(from.name), from.dtype);
    }
    const bool vector = tensor.shape.size() < 2;
    if (type_ != nullptr && !vector) {
      tensor.type = type_;
    } else if (is_unquantized(*from.type)) {
      tensor.type = find_quant_type(from.type->twin.empty() ? from.type->name : from.type->twin);
    } else {
      tensor.type = find_quant_type("bf16");
      decoded_from_ = from.dtype;
      ++decoded_;
    }
    return {};
  }

  // GGUF keeps norms, biases and routers in F32, whatever the model was trained in.
  Result<void> narrow_small_ones() {
    constexpr int64_t kSmall = int64_t{1} << 24;  // values
    std::array<std::pair<const QuantType*, uint64_t>, 2> sizes = {std::pair{find_quant_type("bf16"), uint64_t{0}},
                                                                  std::pair{find_quant_type("f16"), uint64_t{0}}};
    uint64_t all = 0;
    for (const OutputTensor& tensor : tensors_) {
      all += tensor.bytes();
      for (auto& [type, bytes] : sizes) bytes += tensor.type == type ? tensor.bytes() : 0;
    }
    const auto& [main, bytes] = sizes[0].second >= sizes[1].second ? sizes[0] : sizes[1];
    if (bytes < all / 2) return {};
    for (OutputTensor& tensor : tensors_) {
      const bool explicit_type = type_ != nullptr && tensor.shape.size() >= 2;
      if (tensor.type->name != "f32" || explicit_type || tensor.elements() > kSmall) continue;
      MOXIE_TRY(const bool exact, is_exact(*tensor.pieces.front().tensor, *main));
      if (exact) tensor.type = main;
    }
    return {};
  }

  Result<bool> is_exact(const TensorInfo& tensor, const QuantType& type) const {
    bool exact = true;
    MOXIE_TRY_VOID(read_tensor_rows(source_, tensor, [&](std::span<const float> row) -> Result<void> {
      std::vector<std::byte> narrow(static_cast<size_t>(type.row_bytes(std::ssize(row))));
      std::vector<float> back(row.size());
      type.encode(row.data(), narrow.data(), std::ssize(row), nullptr);
      type.decode(narrow.data(), back.data(), std::ssize(row));
      exact = exact && std::equal(row.begin(), row.end(), back.begin());
      return {};
    }));
    return exact;
  }

  const WeightFiles& source_;
  const ModelPlan& plan_;
  const QuantType* type_;
  Log& log_;
  int64_t decoded_ = 0;
  std::string decoded_from_;
  std::vector<OutputTensor> tensors_;
};

}  // namespace

Result<std::vector<OutputTensor>> hugging_face_tensors(const WeightFiles& source, const ModelPlan& plan,
                                                       const QuantType* type, Log& log) {
  return HuggingFaceCollector(source, plan, type, log).collect();
}

}  // namespace moxie

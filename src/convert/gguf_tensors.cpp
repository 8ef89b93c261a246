#include "convert/gguf_tensors.h"

#include <array>
#include <cmath>
#include <numbers>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "core/fail.h"
#include "format/messages.h"

namespace moxie {
namespace {

constexpr std::array<std::string_view, 3> kProjections = {"gate", "up", "down"};

const ProjectionRecord& projection(const ExpertRecord& record, size_t which) {
  return which == 0 ? record.gate : which == 1 ? record.up : record.down;
}

class Collector {
 public:
  Collector(const WeightFiles& source, const ModelPlan& plan, ExpertForm form, Log& log)
      : source_(source), plan_(plan), form_(form), log_(log) {}

  Result<std::vector<OutputTensor>> collect() {
    for (const auto& layer : plan_.experts.experts) {
      for (const ExpertRecord& record : layer) {
        for (size_t which = 0; which < kProjections.size(); ++which) used_.insert(projection(record, which).tensor);
      }
    }
    if (source_.scheme == NameScheme::gguf) {
      collect_gguf();
    } else {
      collect_roles();
      say_left_out();
    }
    std::unordered_set<std::string_view> names;
    for (const OutputTensor& tensor : tensors_) {
      if (names.insert(tensor.name).second) continue;
      return fail(ErrorCode::unsupported, "{}: holds '{}' twice, in two forms; remove one of the two", source_.path,
                  printable(tensor.name));
    }
    return std::move(tensors_);
  }

 private:
  void collect_gguf();
  void collect_roles();
  void add_role(Role role, int64_t layer);
  void add_experts(int64_t layer, size_t which);
  void add_rope_factors();
  void say_left_out() const;

  const WeightFiles& source_;
  const ModelPlan& plan_;
  ExpertForm form_;
  Log& log_;
  std::set<const TensorInfo*> used_;
  std::set<std::pair<int64_t, size_t>> written_;
  std::vector<OutputTensor> tensors_;
};

void Collector::add_experts(int64_t layer, size_t which) {
  const auto& experts = plan_.experts.experts[static_cast<size_t>(layer)];
  if (experts.empty() || !written_.insert({layer, which}).second) return;
  OutputTensor merged{.name = fmt::format("blk.{}.ffn_{}_exps.weight", layer, kProjections[which])};
  for (size_t id = 0; id < experts.size(); ++id) {
    const ProjectionRecord& record = projection(experts[id], which);
    if (form_ == ExpertForm::merged) {
      merged.pieces.push_back(record);
      merged.shape = {static_cast<int64_t>(experts.size()), record.rows, record.columns};
    } else {
      tensors_.push_back({.name = fmt::format("blk.{}.ffn_{}.{}.weight", layer, kProjections[which], id),
                          .shape = {record.rows, record.columns},
                          .pieces = {record}});
    }
  }
  if (form_ == ExpertForm::merged) tensors_.push_back(std::move(merged));
}

// Everything stays where it is; experts are written where the first tensor stands that holds some of them.
void Collector::collect_gguf() {
  std::unordered_map<const TensorInfo*, std::vector<std::pair<int64_t, size_t>>> holds;
  for (size_t layer = 0; layer < plan_.experts.experts.size(); ++layer) {
    for (const ExpertRecord& record : plan_.experts.experts[layer]) {
      for (size_t which = 0; which < kProjections.size(); ++which)
        holds[projection(record, which).tensor].emplace_back(static_cast<int64_t>(layer), which);
    }
  }
  for (const TensorInfo& tensor : source_.tensors) {
    const auto found = holds.find(&tensor);
    if (found == holds.end()) {
      tensors_.push_back({.name = tensor.name, .shape = tensor.shape, .pieces = {whole_tensor(tensor)}});
      continue;
    }
    for (const auto& [layer, which] : found->second) add_experts(layer, which);
  }
}

void Collector::add_role(Role role, int64_t layer) {
  const RoleTensor& found = plan_.roles[static_cast<size_t>(role)][static_cast<size_t>(layer)];
  if (found.weight == nullptr) return;
  const bool tied =
      role == Role::output && found.weight == plan_.roles[static_cast<size_t>(Role::token_embd)][0].weight;
  if (tied) return;
  const std::string stem = role_name(*plan_.family, NameScheme::gguf, role, layer);
  // Only the llama of GGUF has the rows of q and k in an order of its own.
  const bool reorders = plan_.hp.rope.neox && gguf_architecture(source_, plan_) == "llama" &&
                        (role == Role::attn_q || role == Role::attn_k);
  for (const TensorInfo* tensor : {found.weight, found.bias}) {
    if (tensor == nullptr) continue;
    used_.insert(tensor);
    const bool exact = has_exact_name(*plan_.family, role);
    OutputTensor out{.name = exact ? stem : stem + (tensor == found.weight ? ".weight" : ".bias"),
                     .shape = tensor->shape,
                     .pieces = {whole_tensor(*tensor)}};
    // A matrix of one row is a vector there.
    if (out.shape.size() == 2 && out.shape[0] == 1) out.shape.erase(out.shape.begin());
    if (reorders) {
      out.head_rows = HeadRows::halves_to_pairs;
      out.head_size = plan_.hp.head_dim;
      ProjectionRecord& piece = out.pieces.front();
      if (tensor == found.bias) std::swap(piece.rows, piece.columns);
    }
    tensors_.push_back(std::move(out));
  }
}

void Collector::collect_roles() {
  add_role(Role::token_embd, 0);
  add_rope_factors();
  for (int64_t layer = 0; layer < plan_.hp.layers; ++layer) {
    for (size_t r = 0; r < plan_.roles.size(); ++r) {
      if (is_per_layer(*plan_.family, static_cast<Role>(r))) add_role(static_cast<Role>(r), layer);
    }
    for (size_t which = 0; which < kProjections.size(); ++which) add_experts(layer, which);
  }
  add_role(Role::output_norm, 0);
  add_role(Role::output, 0);
}

// The scaling of Llama 3 stands in GGUF as a divisor for every frequency.
void Collector::add_rope_factors() {
  if (plan_.hp.rope.scaling != RopeScaling::llama3) return;
  std::vector<float> factors = llama3_factors(plan_.hp.rope);
  tensors_.push_back(
      {.name = "rope_freqs.weight", .shape = {static_cast<int64_t>(factors.size())}, .values = std::move(factors)});
}

void Collector::say_left_out() const {
  std::vector<std::string> left_out;
  for (const TensorInfo& tensor : source_.tensors) {
    if (!used_.contains(&tensor)) left_out.push_back(tensor.name);
  }
  if (left_out.empty()) return;
  log_.notice(
      fmt::format("{} tensors that the model does not use are left out: {}", left_out.size(), name_some(left_out, 4)));
}

}  // namespace

std::string gguf_architecture(const WeightFiles& source, const ModelPlan& plan) {
  // Some converters of 2023 wrote what Hugging Face calls it, which nothing else knows.
  const std::string own = source.scheme == NameScheme::gguf ? architecture(source) : "";
  if (!own.empty() && own != "mixtral" && own != "mistral") return own;
  return std::string(plan.family->gguf_archs.front());
}

std::vector<float> llama3_factors(const RopeOptions& rope) {
  const double original = static_cast<double>(rope.original_context);
  std::vector<float> factors(static_cast<size_t>(rope.dims / 2));
  for (size_t i = 0; i < factors.size(); ++i) {
    const double wavelength =
        2 * std::numbers::pi * std::pow(rope.base, 2.0 * static_cast<double>(i) / static_cast<double>(rope.dims));
    double factor = 1;
    if (wavelength > original / rope.low_freq_factor) {
      factor = rope.factor;
    } else if (wavelength > original / rope.high_freq_factor) {
      const double smooth =
          (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      factor = 1 / ((1 - smooth) / rope.factor + smooth);
    }
    factors[i] = static_cast<float>(factor);
  }
  return factors;
}

Result<std::vector<OutputTensor>> gguf_tensors(const WeightFiles& source, const ModelPlan& plan, ExpertForm form,
                                               Log& log) {
  return Collector(source, plan, form, log).collect();
}

}  // namespace moxie

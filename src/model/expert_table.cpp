#include "model/expert_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <optional>

#include "core/disk_reader.h"
#include "core/fail.h"
#include "model/tensors.h"

namespace moxie {
namespace {

enum Projection { kGate, kUp, kDown };

// Names of tensors that hold all experts of a layer, (E, out, in): gate, up, down. "{0}" is the layer.
struct StackedNames {
  std::string_view gate, up, down;
  std::string_view layout;
};
constexpr StackedNames kGgufStacked[] = {
    {"blk.{0}.ffn_gate_exps.weight", "blk.{0}.ffn_up_exps.weight", "blk.{0}.ffn_down_exps.weight", "merged"},
    {"blk.{0}.ffn_gate_exp.weight", "blk.{0}.ffn_up_exp.weight", "blk.{0}.ffn_down_exp.weight", "merged"},
};
constexpr StackedNames kHfStacked[] = {
    {"model.layers.{0}.mlp.experts.gate_proj", "model.layers.{0}.mlp.experts.up_proj",
     "model.layers.{0}.mlp.experts.down_proj", "stacked"},
    {"model.layers.{0}.mlp.experts.gate_proj.weight", "model.layers.{0}.mlp.experts.up_proj.weight",
     "model.layers.{0}.mlp.experts.down_proj.weight", "stacked"},
    {"model.layers.{0}.mlp.switch_mlp.gate_proj.weight", "model.layers.{0}.mlp.switch_mlp.up_proj.weight",
     "model.layers.{0}.mlp.switch_mlp.down_proj.weight", "stacked"},
    {"model.layers.{0}.block_sparse_moe.switch_mlp.gate_proj.weight",
     "model.layers.{0}.block_sparse_moe.switch_mlp.up_proj.weight",
     "model.layers.{0}.block_sparse_moe.switch_mlp.down_proj.weight", "stacked"},
    {"model.layers.{0}.feed_forward.experts.gate_proj.weight", "model.layers.{0}.feed_forward.experts.up_proj.weight",
     "model.layers.{0}.feed_forward.experts.down_proj.weight", "stacked"},
    {"model.layers.{0}.feed_forward.switch_mlp.gate_proj.weight",
     "model.layers.{0}.feed_forward.switch_mlp.up_proj.weight",
     "model.layers.{0}.feed_forward.switch_mlp.down_proj.weight", "stacked"},
    {"model.layers.{0}.mixer.switch_mlp.gate_proj.weight", "model.layers.{0}.mixer.switch_mlp.up_proj.weight",
     "model.layers.{0}.mixer.switch_mlp.down_proj.weight", "stacked"},
};
// Gate rows first, then up rows, (E, 2 * out, in); and the down tensor beside it.
struct FusedNames {
  std::string_view gate_up, down;
};
constexpr FusedNames kGgufFused[] = {{"blk.{0}.ffn_gate_up_exps.weight", "blk.{0}.ffn_down_exps.weight"}};
constexpr FusedNames kHfFused[] = {
    {"model.layers.{0}.mlp.experts.gate_up_proj", "model.layers.{0}.mlp.experts.down_proj"},
    {"model.layers.{0}.mlp.experts.gate_up_proj.weight", "model.layers.{0}.mlp.experts.down_proj.weight"},
    {"model.layers.{0}.block_sparse_moe.experts.gate_up_proj", "model.layers.{0}.block_sparse_moe.experts.down_proj"},
};
constexpr ExpertNames kGgufSplit[] = {{"blk.{0}.ffn_gate.{1}", "blk.{0}.ffn_up.{1}", "blk.{0}.ffn_down.{1}"}};

std::string at(std::string_view pattern, int64_t layer, int64_t expert = 0) {
  return fmt::format(fmt::runtime(pattern), layer, expert);
}

class Finder {
 public:
  Finder(const WeightFiles& files, const FamilyEntry& family, const Hyperparameters& hp) : files_(files), hp_(hp) {
    const bool gguf = files.scheme == NameScheme::gguf;
    split_ = gguf ? std::span<const ExpertNames>(kGgufSplit) : family.experts;
    stacked_ = gguf ? std::span<const StackedNames>(kGgufStacked) : std::span<const StackedNames>(kHfStacked);
    fused_ = gguf ? std::span<const FusedNames>(kGgufFused) : std::span<const FusedNames>(kHfFused);
  }

  Result<std::vector<ExpertRecord>> layer(int64_t layer, std::string* layout) const {
    for (const StackedNames& names : stacked_) {
      if (files_.find(at(names.down, layer)) && files_.find(at(names.gate, layer))) {
        *layout = names.layout;
        return stacked(layer, names);
      }
    }
    for (const FusedNames& names : fused_) {
      if (files_.find(at(names.gate_up, layer))) {
        *layout = "gate and up fused";
        return fused(layer, names);
      }
    }
    for (const ExpertNames& names : split_) {
      if (files_.find(at(names.gate, layer) + ".weight") || files_.find(at(names.down, layer) + ".weight") ||
          files_.find(at(names.up, layer) + ".weight")) {
        *layout = "one tensor per expert";
        return one_by_one(layer, names);
      }
    }
    return nothing_found(layer);
  }

 private:
  int64_t out(Projection p) const { return p == kDown ? hp_.hidden : hp_.expert_ffn; }
  int64_t in(Projection p) const { return p == kDown ? hp_.expert_ffn : hp_.hidden; }

  Result<const TensorInfo*> need(const std::string& name, std::vector<int64_t> shape) const {
    const TensorInfo* tensor = files_.find(name);
    if (tensor == nullptr) return missing_tensor(files_, name);
    MOXIE_TRY_VOID(check_computable(files_, *tensor));
    if (tensor->shape != shape) {
      std::vector<int64_t> swapped = shape;
      if (swapped.size() == 3) std::swap(swapped[1], swapped[2]);
      if (tensor->shape == swapped) {
        return fail(Diagnosis{.code = "transposed-experts",
                              .found = fmt::format("{} [{}]", name, fmt::join(tensor->shape, ", ")),
                              .expected = fmt::format("[{}]", fmt::join(shape, ", "))},
                    ErrorCode::unsupported,
                    "{}: {} is stored transposed, [{}] instead of [{}]; save the model in the original layout",
                    files_.path, name, fmt::join(tensor->shape, ", "), fmt::join(shape, ", "));
      }
      return wrong_shape(files_, *tensor, shape);
    }
    return tensor;
  }

  Result<std::vector<ExpertRecord>> stacked(int64_t layer, const StackedNames& names) const {
    std::array<const TensorInfo*, 3> tensors;
    const std::string_view patterns[] = {names.gate, names.up, names.down};
    for (const Projection p : {kGate, kUp, kDown}) {
      MOXIE_TRY(tensors[p], need(at(patterns[p], layer), {hp_.router.experts, out(p), in(p)}));
    }
    std::vector<ExpertRecord> experts(static_cast<size_t>(hp_.router.experts));
    for (int64_t e = 0; e < hp_.router.experts; ++e) {
      experts[static_cast<size_t>(e)] = {.gate = {tensors[kGate], e * out(kGate), out(kGate), in(kGate)},
                                         .up = {tensors[kUp], e * out(kUp), out(kUp), in(kUp)},
                                         .down = {tensors[kDown], e * out(kDown), out(kDown), in(kDown)}};
    }
    return experts;
  }

  Result<std::vector<ExpertRecord>> fused(int64_t layer, const FusedNames& names) const {
    const int64_t ffn = hp_.expert_ffn;
    MOXIE_TRY(const TensorInfo* gate_up, need(at(names.gate_up, layer), {hp_.router.experts, 2 * ffn, hp_.hidden}));
    MOXIE_TRY(const TensorInfo* down, need(at(names.down, layer), {hp_.router.experts, hp_.hidden, ffn}));
    std::vector<ExpertRecord> experts(static_cast<size_t>(hp_.router.experts));
    for (int64_t e = 0; e < hp_.router.experts; ++e) {
      experts[static_cast<size_t>(e)] = {.gate = {gate_up, 2 * e * ffn, ffn, hp_.hidden},
                                         .up = {gate_up, (2 * e + 1) * ffn, ffn, hp_.hidden},
                                         .down = {down, e * hp_.hidden, hp_.hidden, ffn}};
    }
    return experts;
  }

  Result<std::vector<ExpertRecord>> one_by_one(int64_t layer, const ExpertNames& names) const {
    const std::string_view patterns[] = {names.gate, names.up, names.down};
    std::vector<ExpertRecord> experts(static_cast<size_t>(hp_.router.experts));
    for (int64_t e = 0; e < hp_.router.experts; ++e) {
      std::array<const TensorInfo*, 3> tensors;
      for (const Projection p : {kGate, kUp, kDown}) {
        MOXIE_TRY(tensors[p], need(at(patterns[p], layer, e) + ".weight", {out(p), in(p)}));
      }
      experts[static_cast<size_t>(e)] = {.gate = {tensors[kGate], 0, out(kGate), in(kGate)},
                                         .up = {tensors[kUp], 0, out(kUp), in(kUp)},
                                         .down = {tensors[kDown], 0, out(kDown), in(kDown)}};
    }
    return experts;
  }

  Error nothing_found(int64_t layer) const {
    std::vector<std::string> tried;
    for (const StackedNames& names : stacked_) tried.push_back(at(names.down, layer));
    for (const FusedNames& names : fused_) tried.push_back(at(names.gate_up, layer));
    for (const ExpertNames& names : split_) tried.push_back(at(names.down, layer) + ".weight");
    const std::string nearest = files_.nearest(tried.front());
    return fail(
        Diagnosis{.code = "missing-experts",
                  .found = fmt::format("no experts in layer {}", layer),
                  .expected = tried.front(),
                  .near_miss = nearest},
        ErrorCode::corrupt,
        "{}: layer {} has no experts: none of {} is in the file{}; the file is incomplete, or its conversion failed: "
        "download it again or take another conversion",
        files_.path, layer, fmt::join(tried, ", "), nearest.empty() ? "" : fmt::format(" (nearest: {})", nearest));
  }

  const WeightFiles& files_;
  const Hyperparameters& hp_;
  std::span<const ExpertNames> split_;
  std::span<const StackedNames> stacked_;
  std::span<const FusedNames> fused_;
};

}  // namespace

FileRange ProjectionRecord::range(size_t part) const {
  const auto first = static_cast<uint64_t>(first_row), count = static_cast<uint64_t>(rows);
  if (!tensor->parted) {
    const auto row_bytes = static_cast<uint64_t>(tensor->type->row_bytes(columns));
    return {.file = tensor->file, .offset = tensor->offset + first * row_bytes, .bytes = count * row_bytes};
  }
  const TensorPart& from = tensor->parted->parts[part];
  if (from.row_bytes == 0) return {.file = from.file, .offset = from.offset, .bytes = from.bytes};
  return {.file = from.file, .offset = from.offset + first * from.row_bytes, .bytes = count * from.row_bytes};
}

uint64_t ProjectionRecord::bytes() const {
  const uint64_t shares = tensor->parted ? static_cast<uint64_t>(tensor->parted->layout.row_step) : 1;
  uint64_t sum = 0;
  for (size_t part = 0; part < parts(); ++part) sum += range(part).bytes / shares;
  return sum;
}

namespace {

// Do the rows of both lie in turn, so that the same bytes hold them?
bool in_the_same_bytes(const ProjectionRecord& a, const ProjectionRecord& b) {
  if (a.parts() != b.parts()) return false;
  for (size_t part = 0; part < a.parts(); ++part) {
    const FileRange one = a.range(part), other = b.range(part);
    if (one.file != other.file || one.offset != other.offset || one.bytes != other.bytes) return false;
  }
  return true;
}

}  // namespace

ExpertRanges file_ranges(const ExpertRecord& expert) {
  static_assert(ExpertRanges::kMax >= 3 * kPartsMax && ReadTask::kMaxRanges >= static_cast<int>(ExpertRanges::kMax));
  ExpertRanges ranges;
  const std::array projections = {&expert.gate, &expert.up, &expert.down};
  size_t count = 0;
  for (size_t i = 0; i < projections.size(); ++i) {
    const bool read_with_gate = i == 1 && in_the_same_bytes(expert.gate, expert.up);
    for (size_t part = 0; part < projections[i]->parts() && !read_with_gate; ++part)
      ranges[count++] = projections[i]->range(part);
    ranges.ends[i] = static_cast<uint8_t>(count);
  }
  return ranges;
}

Result<ExpertTable> find_experts(const WeightFiles& files, const FamilyEntry& family, const Hyperparameters& hp) {
  ExpertTable table;
  table.experts.resize(static_cast<size_t>(hp.layers));
  const Finder finder(files, family, hp);
  for (int64_t layer = 0; layer < hp.layers; ++layer) {
    if (!hp.moe_layer[static_cast<size_t>(layer)]) continue;
    MOXIE_TRY(table.experts[static_cast<size_t>(layer)], finder.layer(layer, &table.layout));
  }
  if (files.pack_layout) table.layout = "packed";
  return table;
}

Result<std::array<std::string, 3>> expert_tensor_names(const WeightFiles& files, const FamilyEntry& family,
                                                       int64_t layer, int64_t id) {
  const auto names = files.scheme == NameScheme::gguf ? std::span<const ExpertNames>(kGgufSplit) : family.experts;
  if (names.empty()) {
    return fail(ErrorCode::unsupported, "{}: {} has no names for experts with a tensor each", files.path, family.name);
  }
  const auto named = [&](std::string_view pattern) { return at(pattern, layer, id) + ".weight"; };
  return std::array{named(names[0].gate), named(names[0].up), named(names[0].down)};
}

}  // namespace moxie

#include "engine/importance_sums.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/tensors.h"

namespace moxie {

ImportanceSums::ImportanceSums(const Model& model, Backend& backend, const Activations& aside, bool output)
    : backend_(backend), aside_(aside) {
  const Hyperparameters& hp = model.hp();
  for (size_t r = 0; r < static_cast<size_t>(Role::count); ++r) {
    const auto role = static_cast<Role>(r);
    const bool per_layer = is_per_layer(model.family(), role);
    if ((!per_layer && !(output && role == Role::output)) || is_expert_bias(role)) continue;
    for (int64_t layer = 0; layer < (per_layer ? hp.layers : 1); ++layer) {
      const Matrix& matrix = model.matrix(role, layer);
      if (matrix) expect(matrix, role_name(model.family(), NameScheme::gguf, role, layer) + ".weight", 0, 1);
    }
  }
  for (int64_t layer = 0; layer < hp.layers; ++layer) {
    if (!hp.moe_layer[static_cast<size_t>(layer)]) continue;
    const auto experts = static_cast<size_t>(hp.router.experts);
    for (size_t id = 0; id < experts; ++id) {
      const ExpertView& expert = model.experts().place(layer, static_cast<int32_t>(id));
      const auto name = [&](std::string_view which) { return fmt::format("blk.{}.ffn_{}_exps.weight", layer, which); };
      expect(expert.gate, name("gate"), id, experts);
      expect(expert.up, name("up"), id, experts);
      expect(expert.down, name("down"), id, experts);
    }
  }
}

void ImportanceSums::expect(const Matrix& matrix, const std::string& name, size_t index, size_t matrices) {
  ImportanceEntry& entry = entries_[name];
  entry.sums.resize(matrices * static_cast<size_t>(matrix.columns));
  entry.counts.resize(matrices);
  targets_[&matrix] = {&entry, index};
}

void ImportanceSums::matmul(std::span<const MatmulJob> jobs) {
  backend_.matmul(jobs);
  for (const MatmulJob& job : jobs) {
    if (job.x == &aside_) continue;
    if (const auto found = targets_.find(job.weights); found != targets_.end()) add(job, found->second);
  }
}

// In double within a call, so that rows are not lost beside a large sum.
void ImportanceSums::add(const MatmulJob& job, const Target& target) {
  const auto columns = static_cast<size_t>(job.x->columns());
  sums_.assign(columns, 0);
  for (int64_t i = 0; i < job.rows; ++i) {
    const int64_t row = job.gather != nullptr ? job.gather[i] : job.first_row + i;
    const float* x = job.x->x() + row * job.x->columns();
    for (size_t c = 0; c < columns; ++c) sums_[c] += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  }
  float* sums = target.entry->sums.data() + target.matrix * columns;
  for (size_t c = 0; c < columns; ++c) sums[c] = static_cast<float>(static_cast<double>(sums[c]) + sums_[c]);
  target.entry->counts[target.matrix] += static_cast<float>(job.rows);
}

std::map<std::string, ImportanceEntry> ImportanceSums::entries() const {
  std::map<std::string, ImportanceEntry> used;
  for (const auto& [name, entry] : entries_) {
    if (std::any_of(entry.counts.begin(), entry.counts.end(), [](float count) { return count > 0; }))
      used.emplace(name, entry);
  }
  return used;
}

}  // namespace moxie

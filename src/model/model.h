// A model ready to compute: weights in stored form, mapped, read, or with experts that are streamed from their files;
// norms and routers in float. Immutable once loaded, but for its experts' store (thread-safe).
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/buffer.h"
#include "core/disk_reader.h"
#include "core/log.h"
#include "core/watched_mapping.h"
#include "format/weight_file.h"
#include "model/expert_table.h"
#include "model/family.h"
#include "model/hyperparameters.h"
#include "model/rope.h"
#include "model/tensors.h"
#include "moxie/error.h"
#include "store/expert_store.h"
#include "store/streamed_experts.h"

namespace moxie {

// What a file says about its model, checked, before any weight is read.
struct ModelPlan {
  const FamilyEntry* family = nullptr;
  Hyperparameters hp;
  ExpertTable experts;
  // Every tensor the model uses, by role and layer (layer 0 for roles it has once).
  std::array<std::vector<RoleTensor>, static_cast<size_t>(Role::count)> roles;

  uint64_t expert_bytes = 0;            // all experts
  uint64_t dense_bytes = 0;             // everything else that is used
  uint64_t active_bytes_per_token = 0;  // what one decoded token reads (the embedding's one row left out)
  uint64_t parameters = 0;
  // Multiply-adds with weights that one token takes, by the arithmetic that their types are computed in.
  uint64_t integer_products = 0, float_products = 0, bf16_products = 0;
  // Of these what only tokens that go to the output take: the last layer's, but for its keys and values, and the output
  // matrix's.
  uint64_t output_integer_products = 0, output_float_products = 0, output_bf16_products = 0;
};

// Errors name what is missing or wrong. `forced_family`: empty, or a family's name.
Result<ModelPlan> plan_model(const WeightFiles& files, std::string_view forced_family, Log& log);

struct LoadOptions {
  std::string_view cpu_target;  // a supported one
  bool fast = false;            // with fast_quant_type() where there is one
  // Null: all weights are mapped. Else dense weights are read, and experts go through a pool of this layout, read at
  // once if it is complete, otherwise as they are wanted.
  const PoolLayout* pool = nullptr;
  const PolicyEntry* policy = nullptr;  // with a pool
  DiskReaderOptions reader;             // with a pool
  bool verify = false;                  // with a pool: compare everything that is read with the file's checksums
  // Called with the bytes ready so far; false gives up.
  std::function<bool(uint64_t done, uint64_t total)> on_progress;
};

class Model {
 public:
  static Result<std::unique_ptr<Model>> load(const WeightFiles& files, ModelPlan plan, const LoadOptions& options);

  const Hyperparameters& hp() const { return hp_; }
  // Does a matrix have products that LoadOptions::fast chose?
  bool fast() const { return fast_; }
  const FamilyEntry& family() const { return *family_; }
  // Empty where the layer has no such tensor. Layer 0 for roles the model has once.
  const Matrix& matrix(Role role, int64_t layer = 0) const;
  // Norm weights, as float; null where absent.
  const float* vector(Role role, int64_t layer = 0) const { return matrix_or_vector(role, layer).vector; }
  const Rope& rope() const { return rope_; }
  ExpertStore& experts() const { return *experts_; }
  // Null: weights are mapped.
  StreamedExperts* streamed() const { return streamed_; }
  DiskReader* reader() const { return reader_.get(); }
  // Errors: those of WatchedMapping::check, where weights are mapped. REQUIRES: nothing is being computed.
  Result<void> check_mappings() const;

 private:
  struct Slot {
    Matrix matrix;
    const float* vector = nullptr;
  };
  struct Loader;
  const Slot& matrix_or_vector(Role role, int64_t layer) const;

  Hyperparameters hp_;
  bool fast_ = false;
  const FamilyEntry* family_ = nullptr;
  std::vector<WatchedMapping> mappings_;
  Buffer dense_;                            // read weights
  std::vector<std::vector<float>> floats_;  // decoded norms, routers, biases
  std::array<std::vector<Slot>, static_cast<size_t>(Role::count)> slots_;
  std::unique_ptr<DiskReader> reader_;  // outlives experts_
  std::unique_ptr<ExpertStore> experts_;
  StreamedExperts* streamed_ = nullptr;  // experts_, where they have a pool
  Rope rope_;
};

}  // namespace moxie

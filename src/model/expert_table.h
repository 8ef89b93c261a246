// Where every expert's projections lie: one record per layer, expert and projection, whatever the layout of the file
// (merged, one tensor per expert, stacked, gate and up fused). Plain data.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "format/weight_file.h"
#include "model/family.h"
#include "moxie/error.h"
#include "store/slot_layout.h"

namespace moxie {

// A matrix inside a tensor: `rows` rows from `first_row` on, counting rows over all leading dimensions.
struct ProjectionRecord {
  const TensorInfo* tensor = nullptr;
  int64_t first_row = 0, rows = 0, columns = 0;

  // Of a matrix whose parts lie apart: of the first part.
  uint64_t offset() const { return range(0).offset; }
  uint64_t bytes() const;  // of all parts; its share, where another matrix lies in the same bytes
  size_t parts() const { return tensor->parted ? tensor->parted->parts.size() : 1; }
  FileRange range(size_t part) const;  // whole, whoever shares it
};

struct ExpertRecord {
  ProjectionRecord gate, up, down;
  uint64_t bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }
};

// Where the bytes of gate, up and down lie.
ExpertRanges file_ranges(const ExpertRecord& expert);

struct ExpertTable {
  std::vector<std::vector<ExpertRecord>> experts;  // [layer][id]; empty for layers without a mixture
  std::string layout;  // "merged", "one tensor per expert", "stacked", "gate and up fused", "packed"
};

// Errors: a missing tensor (with the names tried and the nearest one present), a wrong shape, a type that cannot be
// computed.
Result<ExpertTable> find_experts(const WeightFiles& files, const FamilyEntry& family, const Hyperparameters& hp);

// What gate, up and down of an expert are called where each is a tensor of its own. Errors: unsupported where the
// family has no such names.
Result<std::array<std::string, 3>> expert_tensor_names(const WeightFiles& files, const FamilyEntry& family,
                                                       int64_t layer, int64_t id);

}  // namespace moxie

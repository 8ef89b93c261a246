#include "convert/output_tensor.h"

namespace moxie {

int64_t OutputTensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

uint64_t OutputTensor::bytes() const {
  return static_cast<uint64_t>(type->row_bytes(elements()));
}

const QuantType* OutputTensor::source_type() const {
  const QuantType* common = pieces.empty() ? nullptr : pieces.front().tensor->type;
  for (const ProjectionRecord& piece : pieces) {
    if (piece.tensor->type != common) return nullptr;
  }
  return common;
}

ProjectionRecord whole_tensor(const TensorInfo& tensor) {
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  return {.tensor = &tensor, .first_row = 0, .rows = columns > 0 ? tensor.elements() / columns : 0, .columns = columns};
}

}  // namespace moxie

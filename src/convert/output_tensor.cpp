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

std::vector<size_t> divided(const std::vector<OutputTensor>& tensors, uint64_t part_bytes) {
  std::vector<size_t> begins;
  uint64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint64_t size = tensors[i].bytes();
    const bool full = part_bytes > 0 && bytes + size > part_bytes;
    if (begins.empty() || (full && begins.back() != i)) {
      begins.push_back(i);
      bytes = 0;
    }
    bytes += size;
  }
  return begins;
}

ProjectionRecord whole_tensor(const TensorInfo& tensor) {
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  return {.tensor = &tensor, .first_row = 0, .rows = columns > 0 ? tensor.elements() / columns : 0, .columns = columns};
}

}  // namespace moxie

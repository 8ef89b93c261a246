// A tensor that a conversion writes, and where its numbers come from. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/expert_table.h"
#include "quant/quant_type.h"

namespace moxie {

// How the rows of q and k lie within a head: GGUF's llama has the two of a rotated pair side by side, Hugging Face has
// them half a head apart.
enum class HeadRows : uint8_t { as_they_are, halves_to_pairs, pairs_to_halves };

struct OutputTensor {
  std::string name;
  std::vector<int64_t> shape;            // outermost first
  std::vector<ProjectionRecord> pieces;  // whose rows follow one another; all of one width
  std::vector<float> values;             // in place of pieces: what no file holds
  HeadRows head_rows = HeadRows::as_they_are;
  int64_t head_size = 0;            // rows of a head, where they change places
  const QuantType* type = nullptr;  // to be written

  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t elements() const;
  uint64_t bytes() const;
  // What all pieces have in common; null where they differ.
  const QuantType* source_type() const;
  // Do the bytes go over as they are (apart from the order of rows)?
  bool is_copied() const { return values.empty() && source_type() == type && !type->parted(); }
};

// Where parts begin of at most so many bytes (0: there is one), each of a tensor at least.
std::vector<size_t> divided(const std::vector<OutputTensor>& tensors, uint64_t part_bytes);

// The whole tensor as one piece.
ProjectionRecord whole_tensor(const TensorInfo& tensor);

}  // namespace moxie

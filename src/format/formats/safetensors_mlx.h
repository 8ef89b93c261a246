// MLX checkpoints: what their quantized tensors are and how much they take. moxie does not compute them yet; they are
// sized, so that facts and plans can be told of them. Stateless, thread-safe.
#pragma once

#include <optional>

#include "format/weight_file.h"

namespace moxie {

// Every triple of packed words, scales and biases becomes one tensor, under the name and place of the words, with the
// bytes of all three and the shape of the matrix that it stands for. Its type has sizes alone: decoding it is an error
// of ours. Nothing where the files are no MLX checkpoint, or a triple is of a form that MLX does not write.
std::optional<WeightFiles> size_mlx(const WeightFiles& files);

}  // namespace moxie

// The numbers of a tensor, whatever its type, read row by row through a bounded buffer. Stateless, thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

// Calls `take` with every row (all dimensions but the last counted through) as float32. Whole numbers and 64-bit floats
// are converted, which is exact up to 2^24. An error of `take` ends it. Errors: unsupported for types that cannot be
// decoded, io, corrupt.
Result<void> read_tensor_rows(const WeightFiles& files, const TensorInfo& tensor,
                              const std::function<Result<void>(std::span<const float>)>& take);
// Likewise from bytes that are in memory already. REQUIRES: they are all of a tensor whose parts do not lie apart.
Result<void> decode_tensor_rows(const TensorInfo& tensor, std::span<const std::byte> bytes,
                                const std::function<Result<void>(std::span<const float>)>& take);

// The bytes of a tensor whose parts do not lie apart, as they are. Errors: io, corrupt; unsupported for others.
Result<std::vector<std::byte>> read_tensor_bytes(const WeightFiles& files, const TensorInfo& tensor);

// The tensors of one file by itself (.safetensors or .gguf), no matter of which model it is a part; matrices whose
// parts lie apart are not joined.
Result<WeightFiles> open_single_file(const std::string& path);

}  // namespace moxie

// The bytes of a tensor as they lie in its file.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "format/weight_file.h"

namespace moxie::golden {

inline std::vector<std::byte> tensor_bytes(const WeightFiles& files, const TensorInfo& tensor) {
  std::vector<std::byte> bytes(tensor.bytes);
  EXPECT_TRUE(
      File::open(files.files[static_cast<size_t>(tensor.file)].path).value().read_at(tensor.offset, bytes).ok());
  return bytes;
}

}  // namespace moxie::golden

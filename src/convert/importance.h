// Importance matrices: how much each column of a matrix matters, measured as the mean square of what it was multiplied
// with. Files are llama.cpp's, in both of its forms. Plain data; functions are stateless.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "moxie/error.h"

namespace moxie {

struct ImportanceEntry {
  std::vector<float> sums;    // (matrices, columns): of the squares
  std::vector<float> counts;  // (matrices), or one for all: rows that were summed
};

struct ImportanceMatrix {
  std::map<std::string, ImportanceEntry> entries;  // by the GGUF name of the weight
  std::vector<std::string> datasets;
  uint32_t chunks = 0, chunk_tokens = 0;

  // One weight for each column of each of `matrices` matrices of the tensor `name`, in order; empty where nothing is
  // known of it. A matrix that nothing passed through counts every column alike. Experts are found whether they were
  // measured in one tensor or one by one. Errors: invalid_argument where the widths differ.
  Result<std::vector<float>> weights(const std::string& name, int64_t matrices, int64_t columns) const;
  // Adds the sums of another, as if one had been measured on both texts. Errors: invalid_argument where they are not of
  // one model.
  Result<void> add(const ImportanceMatrix& other);
};

// Errors: not_found, io, corrupt.
Result<ImportanceMatrix> read_importance(const std::string& path);
// A path that ends in ".dat" gets the older form. Errors: those of NewFile.
Result<void> write_importance(const ImportanceMatrix& matrix, const std::string& path, bool overwrite);

}  // namespace moxie

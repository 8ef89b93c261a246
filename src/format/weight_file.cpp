#include "format/weight_file.h"

#include <algorithm>

#include "core/check.h"
#include "core/edit_distance.h"

namespace moxie {

int64_t TensorInfo::elements() const {
  // The readers made sure that the product fits, which a zero among huge dimensions does too.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

void WeightFiles::add(TensorInfo tensor) {
  const bool is_new = by_name_.emplace(tensor.name, tensors.size()).second;
  MOXIE_CHECK(is_new);
  tensors.push_back(std::move(tensor));
}

const TensorInfo* WeightFiles::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors[found->second];
}

std::string WeightFiles::nearest(std::string_view name) const {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) names.push_back(tensor.name);
  return std::string(nearest_name(name, names));
}

std::vector<TensorPart> TensorInfo::parts() const {
  if (parted) return parted->parts;
  return {{.file = file, .offset = offset, .bytes = bytes}};
}

uint64_t WeightFiles::total_bytes() const {
  uint64_t sum = 0;
  for (const TensorInfo& tensor : tensors) sum += tensor.bytes;
  return sum;
}

}  // namespace moxie

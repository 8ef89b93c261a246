// Quantized checkpoints: one matrix lies in several tensors (packed integers, scales, offsets, ...), under names that
// tell the scheme. A scheme joins them to one tensor of a weight type whose parts lie apart; no byte is moved.
// Everything here is stateless and thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

// What joins a checkpoint's tensors: takes them one after another and gives the list as it is to be seen.
class QuantizedTensors {
 public:
  explicit QuantizedTensors(const WeightFiles& files) : files_(files) {}
  const WeightFiles& files() const { return files_; }
  const Metadata& metadata() const { return files_.metadata; }

  // The tensor `module` + `ending`, or null.
  const TensorInfo* beside(std::string_view module, std::string_view ending) const;
  // Likewise, of one of these dtypes (any, where none is given) and of this rank. Errors: corrupt, by name.
  Result<const TensorInfo*> need(std::string_view module, std::string_view ending,
                                 std::initializer_list<std::string_view> dtypes, size_t rank) const;
  // The bytes of a small tensor. Errors: io; corrupt above a limit.
  Result<std::vector<std::byte>> read(const TensorInfo& tensor) const;
  Error wrong(const TensorInfo& tensor, std::string_view what) const;  // corrupt: "path: tensor 'x' of U32 [..] what"

  struct Part {
    const TensorInfo* tensor;
    bool by_rows = true;  // every row of the matrix has its own bytes in it, one after another
  };
  // One matrix (with leading dimensions, where `shape` has more than two) of the parts, under the name of
  // `module`.weight. The parts are no tensors of their own any more; two matrices may be made of the same ones, whose
  // rows lie in turn (layout.row_step). REQUIRES: the type exists.
  Result<void> join(std::string_view module, std::string_view type, std::string dtype, std::vector<int64_t> shape,
                    PartedLayout layout, std::initializer_list<Part> parts);
  // Likewise under a name of its own.
  Result<void> join_as(std::string name, std::string_view type, std::string dtype, std::vector<int64_t> shape,
                       PartedLayout layout, std::initializer_list<Part> parts);
  // The tensor as it is, but under this name and in a shape of as many numbers.
  void keep_as(const TensorInfo& tensor, std::string name, std::vector<int64_t> shape);
  // Is no tensor of its own: quantization parameters that are of no use here.
  void drop(const TensorInfo& tensor) { gone_.push_back(&tensor); }
  void notice_once(std::string notice);

  Result<WeightFiles> finish() &&;

 private:
  const WeightFiles& files_;
  std::vector<TensorInfo> joined_;
  std::vector<const TensorInfo*> gone_;
  std::vector<std::string> notices_;
};

// The part of a name before `ending`; nothing where it ends otherwise.
std::optional<std::string_view> before_ending(std::string_view name, std::string_view ending);
// The scale format of a float dtype; nothing for other dtypes.
std::optional<ScaleFormat> scale_format(std::string_view dtype);

// An entry in quantized.inc.
struct QuantizedScheme {
  std::string_view name;
  bool (*recognises)(const WeightFiles& files);
  Result<void> (*join)(QuantizedTensors& tensors);
};
std::span<const QuantizedScheme* const> quantized_schemes();

// The files with their matrices joined by the schemes that know them; as they are where none does.
// Errors: corrupt (a part is missing, or has a shape or dtype that does not fit), unsupported (a variant that cannot be
// computed, by name).
Result<WeightFiles> join_quantized(WeightFiles files);

}  // namespace moxie

#include "doctor/scan_weights.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "core/fail.h"
#include "core/file.h"
#include "core/float16.h"
#include "core/printable.h"
#include "core/watched_mapping.h"

namespace moxie {
namespace {

constexpr uint64_t kChunkBytes = uint64_t{4} << 20;
constexpr int kFindingsMax = 10;

// Position of the first value of the tensor that is no number. Decodes by the type's own definition; where the parts of
// a type lie apart, row by row.
class Scanner {
 public:
  Scanner(const WeightFiles& files, const std::function<bool(uint64_t, uint64_t)>& progress)
      : files_(files), progress_(progress), total_(files.total_bytes()) {}

  Result<std::optional<int64_t>> scan(const TensorInfo& tensor) {
    if (tensor.type == nullptr || !tensor.type->computable() || tensor.elements() == 0) {
      MOXIE_TRY_VOID(advance(tensor.bytes));
      return std::optional<int64_t>();
    }
    return tensor.parted ? scan_parted(tensor) : scan_blocks(tensor);
  }

 private:
  Result<void> advance(uint64_t bytes) {
    done_ += bytes;
    if (progress_ && !progress_(done_, total_)) return fail(ErrorCode::cancelled, "stopped");
    return {};
  }

  std::optional<int64_t> first_bad(int64_t count) const {
    const auto end = values_.begin() + count;
    const auto bad = std::find_if(values_.begin(), end, [](float value) { return !std::isfinite(value); });
    if (bad == end) return std::nullopt;
    return bad - values_.begin();
  }

  Result<std::optional<int64_t>> scan_blocks(const TensorInfo& tensor) {
    MOXIE_TRY(const File file, File::open(files_.files[static_cast<size_t>(tensor.file)].path));
    const QuantType& type = *tensor.type;
    const auto block = static_cast<uint64_t>(type.block_bytes);
    const uint64_t chunk = std::max<uint64_t>(1, kChunkBytes / block) * block;
    for (uint64_t at = 0; at < tensor.bytes; at += chunk) {
      const uint64_t bytes = std::min(chunk, tensor.bytes - at);
      bytes_.resize(bytes);
      MOXIE_TRY_VOID(file.read_at(tensor.offset + at, bytes_));
      const auto blocks = static_cast<int64_t>(bytes / block);
      values_.resize(static_cast<size_t>(blocks * type.block_values));
      type.decode(bytes_.data(), values_.data(), blocks);
      MOXIE_TRY_VOID(advance(bytes));
      if (const auto bad = first_bad(blocks * type.block_values)) {
        return std::optional<int64_t>(static_cast<int64_t>(at / block) * type.block_values + *bad);
      }
    }
    return std::optional<int64_t>();
  }

  Result<std::optional<int64_t>> scan_parted(const TensorInfo& tensor) {
    std::vector<WatchedMapping> mappings;
    PartedWeights weights{.layout = tensor.parted->layout};
    for (size_t i = 0; i < tensor.parted->parts.size(); ++i) {
      const TensorPart& part = tensor.parted->parts[i];
      MOXIE_TRY(WatchedMapping mapping, WatchedMapping::open(files_.files[static_cast<size_t>(part.file)].path));
      weights.part[i] = mapping.data() + part.offset;
      mappings.push_back(std::move(mapping));
    }
    const int64_t columns = weights.layout.columns;
    values_.resize(static_cast<size_t>(columns));
    for (int64_t row = 0; row < weights.layout.rows; ++row) {
      tensor.type->decode_columns(weights, row, 0, columns, values_.data());
      if (const auto bad = first_bad(columns)) return std::optional<int64_t>(row * columns + *bad);
    }
    for (const WatchedMapping& mapping : mappings) MOXIE_TRY_VOID(mapping.check());
    MOXIE_TRY_VOID(advance(tensor.bytes));
    return std::optional<int64_t>();
  }

  const WeightFiles& files_;
  const std::function<bool(uint64_t, uint64_t)>& progress_;
  uint64_t total_, done_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<float> values_;
};

}  // namespace

Result<void> scan_weights(const WeightFiles& files, const std::function<bool(uint64_t done, uint64_t total)>& progress,
                          Findings& findings) {
  Scanner scanner(files, progress);
  int found = 0;
  for (const TensorInfo& tensor : files.tensors) {
    MOXIE_TRY(const std::optional<int64_t> bad, scanner.scan(tensor));
    if (!bad || ++found > kFindingsMax) continue;
    findings.add({.code = "nan-weights",
                  .found = fmt::format("{} of {}, value {} of {}", printable(tensor.name), tensor.dtype, *bad,
                                       tensor.elements()),
                  .expected = "numbers"},
                 fmt::format("{}: tensor '{}' holds a value that is no number (the first is number {})", files.path,
                             printable(tensor.name), *bad));
  }
  return {};
}

}  // namespace moxie

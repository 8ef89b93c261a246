#include "format/quantized_scheme.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_set>

#include "core/check.h"
#include "core/fail.h"
#include "core/file.h"
#include "format/messages.h"

namespace moxie {
namespace quantized {
#define MOXIE_ENTRY(name) extern const QuantizedScheme name;
#include "format/quantized.inc"
#undef MOXIE_ENTRY
}  // namespace quantized

namespace {

constexpr uint64_t kReadBytesMax = uint64_t{64} << 20;

constexpr std::array kSchemes = {
#define MOXIE_ENTRY(name) &quantized::name,
#include "format/quantized.inc"
#undef MOXIE_ENTRY
};

// The product; nothing where it is no int64_t, or a factor is negative.
std::optional<int64_t> product(std::span<const int64_t> factors) {
  int64_t all = 1;
  for (const int64_t factor : factors) {
    if (factor < 0 || __builtin_mul_overflow(all, factor, &all)) return std::nullopt;
  }
  return all;
}

}  // namespace

std::span<const QuantizedScheme* const> quantized_schemes() {
  return kSchemes;
}

std::optional<std::string_view> before_ending(std::string_view name, std::string_view ending) {
  if (!name.ends_with(ending)) return std::nullopt;
  return name.substr(0, name.size() - ending.size());
}

std::optional<ScaleFormat> scale_format(std::string_view dtype) {
  if (dtype == "F32") return ScaleFormat::f32;
  if (dtype == "F16") return ScaleFormat::f16;
  if (dtype == "BF16") return ScaleFormat::bf16;
  return std::nullopt;
}

const TensorInfo* QuantizedTensors::beside(std::string_view module, std::string_view ending) const {
  return files_.find(fmt::format("{}{}", module, ending));
}

Error QuantizedTensors::wrong(const TensorInfo& tensor, std::string_view what) const {
  return fail(Diagnosis{.code = "wrong-shape",
                        .found = fmt::format("{} of {} [{}]", printable(tensor.name), printable(tensor.dtype),
                                             fmt::join(tensor.shape, ", ")),
                        .expected = std::string(what)},
              ErrorCode::corrupt,
              "{}: tensor '{}' of {} [{}] {}; the files are damaged or of different models: download them again",
              files_.path, printable(tensor.name), printable(tensor.dtype), fmt::join(tensor.shape, ", "), what);
}

Result<const TensorInfo*> QuantizedTensors::need(std::string_view module, std::string_view ending,
                                                 std::initializer_list<std::string_view> dtypes, size_t rank) const {
  const TensorInfo* tensor = beside(module, ending);
  if (tensor == nullptr) {
    return fail(Diagnosis{.code = "missing-tensor",
                          .found = printable(module),
                          .expected = fmt::format("{}{}", printable(module), ending),
                          .near_miss = files_.nearest(fmt::format("{}{}", module, ending))},
                ErrorCode::corrupt,
                "{}: '{}' is quantized, but its '{}' is missing; the files are incomplete or of different models: "
                "download them again",
                files_.path, printable(module), fmt::format("{}{}", printable(module), ending));
  }
  if (dtypes.size() > 0 && std::find(dtypes.begin(), dtypes.end(), tensor->dtype) == dtypes.end())
    return wrong(*tensor, fmt::format("should be of {}", fmt::join(dtypes, " or ")));
  if (tensor->shape.size() != rank) return wrong(*tensor, fmt::format("should have {} dimensions", rank));
  return tensor;
}

Result<std::vector<std::byte>> QuantizedTensors::read(const TensorInfo& tensor) const {
  if (tensor.bytes > kReadBytesMax) return wrong(tensor, fmt::format("is larger than {} bytes", kReadBytesMax));
  MOXIE_TRY(const File file, File::open(files_.files[static_cast<size_t>(tensor.file)].path));
  std::vector<std::byte> bytes(tensor.bytes);
  MOXIE_TRY_VOID(file.read_at(tensor.offset, bytes));
  return bytes;
}

Result<void> QuantizedTensors::join(std::string_view module, std::string_view type, std::string dtype,
                                    std::vector<int64_t> shape, PartedLayout layout,
                                    std::initializer_list<Part> parts) {
  return join_as(fmt::format("{}.weight", module), type, std::move(dtype), std::move(shape), layout, parts);
}

void QuantizedTensors::keep_as(const TensorInfo& tensor, std::string name, std::vector<int64_t> shape) {
  TensorInfo& kept = joined_.emplace_back(tensor);
  kept.name = std::move(name);
  kept.shape = std::move(shape);
  MOXIE_CHECK(kept.elements() == tensor.elements());
  gone_.push_back(&tensor);
}

Result<void> QuantizedTensors::join_as(std::string name, std::string_view type, std::string dtype,
                                       std::vector<int64_t> shape, PartedLayout layout,
                                       std::initializer_list<Part> parts) {
  MOXIE_CHECK(parts.size() > 0 && parts.size() <= kPartsMax && shape.size() >= 2 && layout.row_step > 0);
  const TensorInfo& first = *parts.begin()->tensor;
  // All of its values as floats can be counted in bytes.
  const auto elements = product(shape), rows = product(std::span(shape).first(shape.size() - 1));
  if (!elements || !rows || *elements > std::numeric_limits<int64_t>::max() / 8 || *elements == 0)
    return wrong(first, fmt::format("stands for a matrix of [{}], which cannot be", fmt::join(shape, ", ")));
  TensorInfo whole{.name = std::move(name),
                   .type = find_quant_type(type),
                   .dtype = std::move(dtype),
                   .shape = std::move(shape),
                   .file = first.file,
                   .offset = first.offset};
  MOXIE_CHECK(whole.type != nullptr && whole.type->parted());
  PartedTensor parted{.layout = layout};
  parted.layout.rows = *rows;
  parted.layout.columns = whole.shape.back();
  for (const Part& part : parts) {
    const TensorInfo& from = *part.tensor;
    if (part.by_rows && from.bytes % static_cast<uint64_t>(*rows) != 0)
      return wrong(from, fmt::format("cannot be divided among the {} rows of '{}'", *rows, printable(whole.name)));
    parted.parts.push_back({.file = from.file,
                            .offset = from.offset,
                            .bytes = from.bytes,
                            .row_bytes = part.by_rows ? from.bytes / static_cast<uint64_t>(*rows) : 0});
    whole.bytes += from.bytes / static_cast<uint64_t>(layout.row_step);
    gone_.push_back(&from);
  }
  whole.parted = std::make_shared<const PartedTensor>(std::move(parted));
  joined_.push_back(std::move(whole));
  return {};
}

void QuantizedTensors::notice_once(std::string notice) {
  if (std::find(notices_.begin(), notices_.end(), notice) == notices_.end()) notices_.push_back(std::move(notice));
}

Result<WeightFiles> QuantizedTensors::finish() && {
  const std::unordered_set<const TensorInfo*> gone(gone_.begin(), gone_.end());
  std::vector<TensorInfo> all = std::move(joined_);
  for (const TensorInfo& tensor : files_.tensors) {
    if (!gone.contains(&tensor)) all.push_back(tensor);
  }
  std::stable_sort(all.begin(), all.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.file != b.file ? a.file < b.file : a.offset < b.offset;
  });
  WeightFiles files;
  files.path = files_.path;
  files.format = files_.format;
  files.scheme = files_.scheme;
  files.metadata = files_.metadata;
  files.config = files_.config;
  files.tokenizer = files_.tokenizer;
  files.files = files_.files;
  files.notices = files_.notices;
  files.notices.insert(files.notices.end(), notices_.begin(), notices_.end());
  for (TensorInfo& tensor : all) {
    if (files.find(tensor.name) != nullptr) {
      return fail(Diagnosis{.code = "mixed-files",
                            .found = fmt::format("{} twice", printable(tensor.name)),
                            .expected = "each matrix once"},
                  ErrorCode::corrupt,
                  "{}: '{}' is there twice, quantized and as it is; files of different models are mixed: download them "
                  "again",
                  files.path, printable(tensor.name));
    }
    files.add(std::move(tensor));
  }
  return files;
}

Result<WeightFiles> join_quantized(WeightFiles files) {
  // One checkpoint may have several: experts in one form, the other matrices in another.
  for (const QuantizedScheme* scheme : kSchemes) {
    if (!scheme->recognises(files)) continue;
    QuantizedTensors tensors(files);
    MOXIE_TRY_VOID(scheme->join(tensors));
    MOXIE_TRY(files, std::move(tensors).finish());
  }
  return files;
}

}  // namespace moxie

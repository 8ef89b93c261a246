#include "format/formats/gguf_header.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <unordered_set>

#include "core/fail.h"
#include "format/formats/gguf_values.h"
#include "format/formats/gguf_vocabulary.h"
#include "format/messages.h"

namespace moxie {
namespace {

constexpr uint64_t kKeyValueBytesMin = 10;
constexpr uint64_t kTensorBytesMin = 24;
constexpr uint64_t kKeyBytesMax = 65535;
// Real files have some thousands. Bounds the memory that a huge damaged file can ask for.
constexpr uint64_t kTensorsMax = uint64_t{1} << 21;
constexpr uint64_t kKeyMemoryBytes = 320;  // about what a kept key takes besides its text, which is kept twice
constexpr uint32_t kDimensionsMax = 4;
constexpr uint64_t kAlignmentDefault = 32;

// Why an id of a type is unknown.
std::string describe_type_code(std::string_view known) {
  if (known.empty()) return "unknown-type";
  return known.find("ik_llama.cpp") != std::string_view::npos ? "fork-type" : "removed-type";
}

class HeaderReader {
 public:
  explicit HeaderReader(const ByteSource& source) : source_(source), in_(source) {}

  Result<GgufHeader> read() {
    MOXIE_TRY_VOID(read_counts());
    MOXIE_TRY_VOID(read_key_values());
    MOXIE_TRY_VOID(finish_vocabulary(path(), header_.metadata, header_.vocabulary, header_.notices));
    MOXIE_TRY_VOID(read_alignment());
    MOXIE_TRY_VOID(read_tensors());
    MOXIE_TRY_VOID(place_tensors());
    return std::move(header_);
  }

 private:
  const std::string& path() const { return source_.path(); }

  Result<void> read_counts();
  Result<void> read_key_values();
  Result<void> read_alignment();
  Result<void> read_tensors();
  Result<TensorInfo> read_tensor();
  Result<void> size_tensor(TensorInfo& tensor, const std::vector<uint64_t>& dims, uint32_t type_id);
  Result<void> place_tensors();
  Result<void> check_overlaps();

  const ByteSource& source_;
  ByteReader in_;
  GgufHeader header_;
  uint64_t tensor_count_ = 0;
  uint64_t key_value_count_ = 0;
  uint64_t alignment_ = kAlignmentDefault;
};

Result<void> HeaderReader::read_counts() {
  MOXIE_TRY(const std::string magic, in_.read_string(4));
  if (magic != "GGUF") return fail(ErrorCode::corrupt, "{}: does not begin with \"GGUF\"", path());
  MOXIE_TRY(header_.version, in_.read<uint32_t>());
  const uint32_t version = header_.version;
  if (version != 0 && (version & 0xFFFF) == 0) {
    return fail(
        Diagnosis{
            .code = "big-endian", .found = fmt::format("version bytes {:#010x}", version), .expected = "little endian"},
        ErrorCode::unsupported,
        "{}: is a big-endian GGUF file (version bytes {:#010x}), which moxie does not read; get the "
        "little-endian file, "
        "or swap it with gguf_convert_endian.py of llama.cpp",
        path(), version);
  }
  if (version < 1 || version > 3) {
    return fail(Diagnosis{.code = version == 0 ? "damaged" : "gguf-version",
                          .found = fmt::format("version {}", version),
                          .expected = "1 to 3"},
                version == 0 ? ErrorCode::corrupt : ErrorCode::unsupported,
                "{}: GGUF version {}; moxie reads versions 1 to 3: {}", path(), version,
                version == 0 ? "the file is damaged, download it again" : "a newer moxie may read it");
  }
  MOXIE_TRY(tensor_count_, read_gguf_size(in_, version));
  MOXIE_TRY(key_value_count_, read_gguf_size(in_, version));
  if (key_value_count_ > in_.remaining() / kKeyValueBytesMin) {
    return fail(Diagnosis{.code = "truncated",
                          .found = fmt::format("{} bytes after the counts", in_.remaining()),
                          .expected = fmt::format("{} metadata keys", key_value_count_)},
                ErrorCode::corrupt,
                "{}: claims {} metadata keys, but the {} bytes left hold at most {}: the file is damaged or cut off; "
                "download it "
                "again",
                path(), key_value_count_, in_.remaining(), in_.remaining() / kKeyValueBytesMin);
  }
  if (tensor_count_ > in_.remaining() / kTensorBytesMin) {
    return fail(
        Diagnosis{.code = "truncated",
                  .found = fmt::format("{} bytes after the counts", in_.remaining()),
                  .expected = fmt::format("{} tensors", tensor_count_)},
        ErrorCode::corrupt,
        "{}: claims {} tensors, but the {} bytes left describe at most {}: the file is damaged or cut off; download it "
        "again",
        path(), tensor_count_, in_.remaining(), in_.remaining() / kTensorBytesMin);
  }
  return {};
}

Result<void> HeaderReader::read_key_values() {
  GgufValueReader values(in_, header_.version);
  std::unordered_set<std::string> keys;
  for (uint64_t i = 0; i < key_value_count_; ++i) {
    GgufKeyPlace place{.begin = in_.position()};
    MOXIE_TRY(const uint64_t length, read_gguf_size(in_, header_.version));
    if (length == 0 || length > kKeyBytesMax) {
      return fail(
          ErrorCode::corrupt,
          "{}: metadata key {} of {} is {} bytes long, allowed are 1 to {}: the file is damaged, download it again",
          path(), i + 1, key_value_count_, length, kKeyBytesMax);
    }
    MOXIE_TRY(std::string key, in_.read_string(length));
    if (!keys.insert(key).second) {
      return fail(ErrorCode::corrupt,
                  "{}: the metadata key \"{}\" appears twice: the file is damaged, download it again", path(),
                  printable(key));
    }
    MOXIE_TRY_VOID(values.take_memory(key, 2 * key.size() + kKeyMemoryBytes));
    place.value = in_.position();
    MOXIE_TRY(MetadataValue value, values.read(key));
    place.key = key;
    place.end = in_.position();
    header_.keys.push_back(std::move(place));
    MOXIE_TRY(const bool taken, take_vocabulary_key(path(), key, value, header_.vocabulary));
    if (!taken) header_.metadata.set(std::move(key), std::move(value));
  }
  return {};
}

Result<void> HeaderReader::read_alignment() {
  if (!header_.metadata.has("general.alignment")) return {};
  const std::optional<int64_t> alignment = header_.metadata.integer("general.alignment");
  if (!alignment || *alignment <= 0 || *alignment > UINT32_MAX ||
      !std::has_single_bit(static_cast<uint64_t>(*alignment))) {
    return fail(
        ErrorCode::corrupt,
        "{}: general.alignment is {}; it must be a power of two below 2^32: the file is damaged, download it again",
        path(), alignment ? std::to_string(*alignment) : "no whole number");
  }
  alignment_ = static_cast<uint64_t>(*alignment);
  return {};
}

Result<void> HeaderReader::read_tensors() {
  if (tensor_count_ > kTensorsMax) {
    return fail(ErrorCode::unsupported,
                "{}: claims {} tensors, more than the {} that moxie reads: the file is damaged; download it again",
                path(), tensor_count_, kTensorsMax);
  }
  // Checked again: the metadata took its share of the bytes that the count was held against.
  if (tensor_count_ > in_.remaining() / kTensorBytesMin) {
    return fail(Diagnosis{.code = "truncated",
                          .found = fmt::format("{} bytes after the metadata", in_.remaining()),
                          .expected = fmt::format("{} tensors", tensor_count_)},
                ErrorCode::corrupt,
                "{}: claims {} tensors, but the {} bytes after the metadata describe at most {}: the file is damaged "
                "or cut off; "
                "download it again",
                path(), tensor_count_, in_.remaining(), in_.remaining() / kTensorBytesMin);
  }
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    MOXIE_TRY(TensorInfo tensor, read_tensor());
    if (!names.insert(tensor.name).second) {
      return fail(ErrorCode::corrupt, "{}: the tensor \"{}\" appears twice: the file is damaged, download it again",
                  path(), printable(tensor.name));
    }
    header_.tensors.push_back(std::move(tensor));
  }
  return {};
}

Result<TensorInfo> HeaderReader::read_tensor() {
  TensorInfo tensor;
  MOXIE_TRY(const uint64_t length, read_gguf_size(in_, header_.version));
  if (length == 0 || length > kKeyBytesMax) {
    return fail(
        ErrorCode::corrupt,
        "{}: tensor {} of {} has a name of {} bytes, allowed are 1 to {}: the file is damaged, download it again",
        path(), header_.tensors.size() + 1, tensor_count_, length, kKeyBytesMax);
  }
  MOXIE_TRY(tensor.name, in_.read_string(length));
  MOXIE_TRY(const uint32_t dimensions, in_.read<uint32_t>());
  if (dimensions > kDimensionsMax) {
    return fail(ErrorCode::corrupt,
                "{}: tensor \"{}\" has {} dimensions, more than {}: the file is damaged, download it again", path(),
                printable(tensor.name), dimensions, kDimensionsMax);
  }
  std::vector<uint64_t> dims;
  for (uint32_t d = 0; d < dimensions; ++d) {
    MOXIE_TRY(const uint64_t dim, read_gguf_size(in_, header_.version));
    dims.push_back(dim);
  }
  MOXIE_TRY(const uint32_t type_id, in_.read<uint32_t>());
  MOXIE_TRY(tensor.offset, in_.read<uint64_t>());
  MOXIE_TRY_VOID(size_tensor(tensor, dims, type_id));
  return tensor;
}

Result<void> HeaderReader::size_tensor(TensorInfo& tensor, const std::vector<uint64_t>& dims, uint32_t type_id) {
  tensor.type = type_id <= INT32_MAX ? find_quant_type_by_gguf_id(static_cast<int>(type_id)) : nullptr;
  if (tensor.type == nullptr) {
    const std::string_view known = describe_gguf_type_id(type_id);
    return fail(
        Diagnosis{.code = describe_type_code(known),
                  .found = fmt::format("type id {} of {}", type_id, printable(tensor.name)),
                  .expected = "a type of docs/quantization.md"},
        ErrorCode::unsupported, "{}: tensor \"{}\" has type id {}: {}", path(), printable(tensor.name), type_id,
        known.empty()
            ? "moxie does not know it; the file is newer than this moxie, comes from a fork, or is damaged; use "
              "another quantization of the model"
            : known);
  }
  for (const char c : tensor.type->name) tensor.dtype += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  uint64_t elements = 1;
  for (const uint64_t dim : dims) {
    if (dim != 0 && elements > static_cast<uint64_t>(INT64_MAX) / dim) {
      return fail(
          ErrorCode::corrupt,
          "{}: tensor \"{}\" has dimensions {{{}}}, more than 2^63 elements: the file is damaged, download it again",
          path(), printable(tensor.name), fmt::join(dims, ", "));
    }
    elements *= dim;
  }
  const uint64_t row = dims.empty() ? 1 : dims.front();
  const auto block_values = static_cast<uint64_t>(tensor.type->block_values);
  const auto block_bytes = static_cast<uint64_t>(tensor.type->block_bytes);
  if (row % block_values != 0) {
    return fail(ErrorCode::corrupt,
                "{}: tensor \"{}\" of type {} has rows of {} values, which do not divide into blocks of {}: the file "
                "is damaged, download it again",
                path(), printable(tensor.name), tensor.dtype, row, block_values);
  }
  const uint64_t blocks = elements / block_values;
  if (blocks > static_cast<uint64_t>(INT64_MAX) / block_bytes) {
    return fail(
        ErrorCode::corrupt,
        "{}: tensor \"{}\" has {} elements of type {}, more than 2^63 bytes: the file is damaged, download it again",
        path(), printable(tensor.name), elements, tensor.dtype);
  }
  tensor.bytes = blocks * block_bytes;
  tensor.shape.assign(dims.rbegin(), dims.rend());
  return {};
}

Result<void> HeaderReader::place_tensors() {
  if (header_.tensors.empty()) return {};
  const uint64_t header_end = in_.position();
  const uint64_t padding = (alignment_ - header_end % alignment_) % alignment_;
  const uint64_t data_start = header_end + padding;
  header_.data_start = data_start;
  uint64_t needed = 0;
  for (TensorInfo& tensor : header_.tensors) {
    if (tensor.offset % alignment_ != 0) {
      return fail(ErrorCode::corrupt,
                  "{}: tensor \"{}\" begins at {} of the data, which is no multiple of the alignment {}: the file is "
                  "damaged, download it again",
                  path(), printable(tensor.name), tensor.offset, alignment_);
    }
    constexpr uint64_t kLimit = static_cast<uint64_t>(INT64_MAX);
    if (tensor.offset > kLimit - data_start || tensor.bytes > kLimit - data_start - tensor.offset) {
      return fail(ErrorCode::corrupt,
                  "{}: tensor \"{}\" of {} bytes at offset {} ends beyond 2^63: the file is damaged, download it again",
                  path(), printable(tensor.name), tensor.bytes, tensor.offset);
    }
    tensor.offset += data_start;
    needed = std::max(needed, tensor.offset + tensor.bytes);
  }
  if (needed > source_.bytes()) return truncated_error(path(), needed, source_.bytes());
  return check_overlaps();
}

Result<void> HeaderReader::check_overlaps() {
  std::vector<const TensorInfo*> order;
  order.reserve(header_.tensors.size());
  for (const TensorInfo& tensor : header_.tensors) {
    if (tensor.bytes != 0) order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorInfo &before = *order[i - 1], &after = *order[i];
    if (before.offset + before.bytes > after.offset) {
      return fail(ErrorCode::corrupt,
                  "{}: tensors \"{}\" (bytes {} to {}) and \"{}\" (from byte {}) overlap: the file is damaged, "
                  "download it again",
                  path(), printable(before.name), before.offset, before.offset + before.bytes, printable(after.name),
                  after.offset);
    }
  }
  return {};
}

}  // namespace

Result<GgufHeader> read_gguf_header(const ByteSource& source) {
  return HeaderReader(source).read();
}

}  // namespace moxie

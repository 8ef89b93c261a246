#include "format/tensor_values.h"

#include <algorithm>
#include <cstring>

#include "core/byte_reader.h"
#include "core/fail.h"
#include "core/file.h"
#include "format/formats/gguf_header.h"
#include "format/formats/safetensors_header.h"
#include "format/messages.h"
#include "format/sniff.h"

namespace moxie {
namespace {

using Take = std::function<Result<void>(std::span<const float>)>;

constexpr uint64_t kBufferBytes = uint64_t{4} << 20;

template <typename T>
void convert(const std::byte* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    to[i] = static_cast<float>(value);
  }
}

// How the values of a dtype that is no weight type become floats.
struct Numbers {
  std::string_view name;
  int64_t bytes;
  void (*convert)(const std::byte*, float*, int64_t);
};
constexpr Numbers kNumbers[] = {
    {"F64", 8, convert<double>},   {"I64", 8, convert<int64_t>},  {"U64", 8, convert<uint64_t>},
    {"I32", 4, convert<int32_t>},  {"U32", 4, convert<uint32_t>}, {"I16", 2, convert<int16_t>},
    {"U16", 2, convert<uint16_t>}, {"I8", 1, convert<int8_t>},    {"U8", 1, convert<uint8_t>},
    {"BOOL", 1, convert<uint8_t>},
};

// What turns the bytes of some rows into floats.
struct Decoder {
  int64_t row_bytes = 0, columns = 0;
  const QuantType* type = nullptr;
  const Numbers* numbers = nullptr;

  void decode(const std::byte* from, float* to) const {
    if (type != nullptr) {
      type->decode(from, to, columns / type->block_values);
    } else {
      numbers->convert(from, to, columns);
    }
  }
};

Error undecodable(const std::string& path, const TensorInfo& tensor) {
  return fail(ErrorCode::unsupported, "{}: tensor \"{}\" is of type {}, whose values moxie cannot read", path,
              printable(tensor.name), printable(tensor.dtype));
}

int64_t columns_of(const TensorInfo& tensor) {
  return tensor.shape.empty() ? 1 : tensor.shape.back();
}

Result<Decoder> decoder_of(const std::string& path, const TensorInfo& tensor) {
  Decoder decoder{.columns = columns_of(tensor), .type = tensor.type};
  if (tensor.type != nullptr) {
    if (tensor.type->decode == nullptr) return undecodable(path, tensor);
    decoder.row_bytes = tensor.type->row_bytes(decoder.columns);
    return decoder;
  }
  for (const Numbers& numbers : kNumbers) {
    if (numbers.name == tensor.dtype) decoder.numbers = &numbers;
  }
  if (decoder.numbers == nullptr) return undecodable(path, tensor);
  decoder.row_bytes = decoder.columns * decoder.numbers->bytes;
  return decoder;
}

const std::string& path_of(const WeightFiles& files, const TensorInfo& tensor) {
  return files.files[static_cast<size_t>(tensor.file)].path;
}

int64_t rows_of(const TensorInfo& tensor) {
  const int64_t columns = columns_of(tensor);
  return columns == 0 ? 0 : tensor.elements() / columns;
}

Result<void> read_parted(const WeightFiles& files, const TensorInfo& tensor, const Take& take) {
  PartedWeights weights{.layout = tensor.parted->layout};
  std::vector<std::vector<std::byte>> bytes;
  for (const TensorPart& part : tensor.parted->parts) {
    MOXIE_TRY(const File file, File::open(files.files[static_cast<size_t>(part.file)].path));
    std::vector<std::byte> all(part.bytes);
    MOXIE_TRY_VOID(file.read_at(part.offset, all));
    weights.part[bytes.size()] = all.data();
    bytes.push_back(std::move(all));
  }
  const int64_t columns = tensor.parted->layout.columns;
  std::vector<float> row(static_cast<size_t>(columns));
  for (int64_t i = 0; i < tensor.parted->layout.rows; ++i) {
    tensor.type->decode_columns(weights, i, 0, columns, row.data());
    MOXIE_TRY_VOID(take(row));
  }
  return {};
}

}  // namespace

Result<void> read_tensor_rows(const WeightFiles& files, const TensorInfo& tensor, const Take& take) {
  if (tensor.parted) return read_parted(files, tensor, take);
  MOXIE_TRY(const Decoder decoder, decoder_of(path_of(files, tensor), tensor));
  MOXIE_TRY(const File file, File::open(path_of(files, tensor)));
  const int64_t rows = rows_of(tensor);
  const int64_t at_once = std::clamp<int64_t>(
      static_cast<int64_t>(kBufferBytes) / std::max<int64_t>(1, decoder.row_bytes), 1, std::max<int64_t>(rows, 1));
  std::vector<std::byte> bytes;
  std::vector<float> row(static_cast<size_t>(decoder.columns));
  for (int64_t first = 0; first < rows; first += at_once) {
    const int64_t count = std::min(at_once, rows - first);
    bytes.resize(static_cast<size_t>(count * decoder.row_bytes));
    MOXIE_TRY_VOID(file.read_at(tensor.offset + static_cast<uint64_t>(first * decoder.row_bytes), bytes));
    for (int64_t i = 0; i < count; ++i) {
      decoder.decode(bytes.data() + i * decoder.row_bytes, row.data());
      MOXIE_TRY_VOID(take(row));
    }
  }
  return {};
}

Result<void> decode_tensor_rows(const TensorInfo& tensor, std::span<const std::byte> bytes, const Take& take) {
  MOXIE_TRY(const Decoder decoder, decoder_of("", tensor));
  const int64_t rows = rows_of(tensor);
  if (static_cast<uint64_t>(rows * decoder.row_bytes) != bytes.size()) {
    return fail(ErrorCode::invalid_argument, "tensor \"{}\" has {} bytes, not {}", printable(tensor.name),
                rows * decoder.row_bytes, bytes.size());
  }
  std::vector<float> row(static_cast<size_t>(decoder.columns));
  for (int64_t i = 0; i < rows; ++i) {
    decoder.decode(bytes.data() + i * decoder.row_bytes, row.data());
    MOXIE_TRY_VOID(take(row));
  }
  return {};
}

Result<std::vector<std::byte>> read_tensor_bytes(const WeightFiles& files, const TensorInfo& tensor) {
  if (tensor.parted) {
    return fail(ErrorCode::unsupported, "{}: the parts of tensor \"{}\" lie apart: read its values instead",
                path_of(files, tensor), printable(tensor.name));
  }
  MOXIE_TRY(const File file, File::open(path_of(files, tensor)));
  std::vector<std::byte> bytes(tensor.bytes);
  MOXIE_TRY_VOID(file.read_at(tensor.offset, bytes));
  return bytes;
}

Result<WeightFiles> open_single_file(const std::string& path) {
  MOXIE_TRY_VOID(check_exists(path));
  MOXIE_TRY(const FileSource source, FileSource::open(path));
  MOXIE_TRY(const std::string start, read_start(source, kSniffBytes));
  WeightFiles files;
  files.path = path;
  files.files.push_back({.path = path, .bytes = source.bytes()});
  std::vector<TensorInfo> tensors;
  if (start.starts_with("GGUF")) {
    MOXIE_TRY(GgufHeader header, read_gguf_header(source));
    files.format = "GGUF";
    tensors = std::move(header.tensors);
  } else if (begins_as_safetensors(start)) {
    MOXIE_TRY(SafetensorsHeader header, read_safetensors_header(source));
    files.format = "safetensors";
    files.scheme = NameScheme::hugging_face;
    tensors = std::move(header.tensors);
  } else {
    return unknown_file_error(path, start, source.bytes());
  }
  for (TensorInfo& tensor : tensors) {
    if (files.find(tensor.name) != nullptr) {
      return fail(ErrorCode::corrupt, "{}: holds the tensor \"{}\" twice; download it again", path,
                  printable(tensor.name));
    }
    files.add(std::move(tensor));
  }
  return files;
}

}  // namespace moxie

#include "format/formats/gguf_values.h"

#include <array>

#include "core/fail.h"
#include "format/messages.h"

namespace moxie {
namespace {

enum ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64, kTypes };

constexpr std::array<uint64_t, kTypes> kElementBytesMin = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
constexpr uint64_t kStringBytesMax = uint64_t{1} << 30;
constexpr uint64_t kArrayCountMax = uint64_t{1} << 30;
// The largest vocabularies take some tens of MB. Without a limit a huge file of zeros could ask for many times its
// size.
constexpr uint64_t kMemoryBytesMax = uint64_t{1} << 30;

}  // namespace

Result<uint64_t> read_gguf_size(ByteReader& in, uint32_t version) {
  if (version != 1) return in.read<uint64_t>();
  MOXIE_TRY(const uint32_t size, in.read<uint32_t>());
  return uint64_t{size};
}

Result<void> GgufValueReader::take_memory(std::string_view key, uint64_t bytes) {
  memory_bytes_ += bytes;  // each addend is bounded by the caller, so this cannot wrap before it is refused
  if (memory_bytes_ <= kMemoryBytesMax) return {};
  return fail(
      ErrorCode::corrupt,
      "{}: the metadata up to \"{}\" takes more than {} bytes of memory: the file is damaged, download it again",
      in_.path(), printable(key), kMemoryBytesMax);
}

Result<MetadataValue> GgufValueReader::read(std::string_view key) {
  MOXIE_TRY(const uint32_t type, in_.read<uint32_t>());
  if (type >= kTypes) {
    return fail(ErrorCode::corrupt,
                "{}: metadata key \"{}\" has value type {}; known are 0 to 12: the file is damaged, or newer than this "
                "moxie; download it again",
                in_.path(), printable(key), type);
  }
  return type == array ? read_array(key) : read_scalar(key, type);
}

Result<std::string> GgufValueReader::read_text(std::string_view key) {
  MOXIE_TRY(const uint64_t length, read_gguf_size(in_, version_));
  if (length > kStringBytesMax || length > in_.remaining()) {
    return fail(ErrorCode::corrupt,
                "{}: a string of \"{}\" claims {} bytes; {} are left and the limit is {}: the file is damaged or cut "
                "off; download it "
                "again",
                in_.path(), printable(key), length, in_.remaining(), kStringBytesMax);
  }
  MOXIE_TRY_VOID(take_memory(key, length));
  return in_.read_string(length);
}

Result<bool> GgufValueReader::read_bool(std::string_view key) {
  MOXIE_TRY(const uint8_t byte, in_.read<uint8_t>());
  if (byte > 1) {
    return fail(
        ErrorCode::corrupt,
        "{}: metadata key \"{}\" is a boolean of value {}; it must be 0 or 1: the file is damaged, download it again",
        in_.path(), printable(key), byte);
  }
  return byte == 1;
}

Result<MetadataValue> GgufValueReader::read_scalar(std::string_view key, uint32_t type) {
  const auto whole = [this]<typename T>(T) -> Result<MetadataValue> {
    MOXIE_TRY(const T value, in_.read<T>());
    return MetadataValue(static_cast<int64_t>(value));
  };
  const auto real = [this]<typename T>(T) -> Result<MetadataValue> {
    MOXIE_TRY(const T value, in_.read<T>());
    return MetadataValue(static_cast<double>(value));
  };
  switch (type) {
    case u8:
      return whole(uint8_t{});
    case i8:
      return whole(int8_t{});
    case u16:
      return whole(uint16_t{});
    case i16:
      return whole(int16_t{});
    case u32:
      return whole(uint32_t{});
    case i32:
      return whole(int32_t{});
    case i64:
      return whole(int64_t{});
    case f32:
      return real(float{});
    case f64:
      return real(double{});
    case u64: {
      MOXIE_TRY(const uint64_t value, in_.read<uint64_t>());
      if (value > static_cast<uint64_t>(INT64_MAX)) return MetadataValue(value);
      return MetadataValue(static_cast<int64_t>(value));
    }
    case boolean: {
      MOXIE_TRY(const bool value, read_bool(key));
      return MetadataValue(value);
    }
    default: {
      MOXIE_TRY(std::string value, read_text(key));
      return MetadataValue(std::move(value));
    }
  }
}

template <typename From, typename To>
Result<MetadataValue> GgufValueReader::read_numbers(uint64_t count) {
  std::vector<To> values;
  values.reserve(static_cast<size_t>(count));
  for (uint64_t i = 0; i < count; ++i) {
    MOXIE_TRY(const From value, in_.read<From>());
    if constexpr (std::is_same_v<From, uint64_t>) {
      if (value > static_cast<uint64_t>(INT64_MAX)) {
        return fail(ErrorCode::unsupported,
                    "{}: an array holds the number {}, above 2^63 - 1: the file is damaged, download it again",
                    in_.path(), value);
      }
    }
    values.push_back(static_cast<To>(value));
  }
  return MetadataValue(std::move(values));
}

Result<MetadataValue> GgufValueReader::read_array(std::string_view key) {
  MOXIE_TRY(const uint32_t type, in_.read<uint32_t>());
  if (type == array) {
    return fail(ErrorCode::unsupported,
                "{}: metadata key \"{}\" is an array of arrays, which no model uses and moxie does not read: the file "
                "is damaged or no model; download it again",
                in_.path(), printable(key));
  }
  if (type >= kTypes) {
    return fail(ErrorCode::corrupt,
                "{}: metadata key \"{}\" is an array of value type {}; known are 0 to 12: the file is damaged, or "
                "newer than this moxie; download it again",
                in_.path(), printable(key), type);
  }
  MOXIE_TRY(const uint64_t count, read_gguf_size(in_, version_));
  const uint64_t element_bytes = type == string && version_ == 1 ? 4 : kElementBytesMin[type];
  if (count > kArrayCountMax || count > in_.remaining() / element_bytes) {
    return fail(ErrorCode::corrupt,
                "{}: metadata key \"{}\" claims {} array elements; the {} bytes left hold at most {} and the limit is "
                "{}: the file is "
                "damaged or cut off; download it again",
                in_.path(), printable(key), count, in_.remaining(), in_.remaining() / element_bytes, kArrayCountMax);
  }
  MOXIE_TRY_VOID(take_memory(key, count * (type == string ? sizeof(std::string) : sizeof(int64_t))));
  switch (type) {
    case u8:
      return read_numbers<uint8_t, int64_t>(count);
    case i8:
      return read_numbers<int8_t, int64_t>(count);
    case u16:
      return read_numbers<uint16_t, int64_t>(count);
    case i16:
      return read_numbers<int16_t, int64_t>(count);
    case u32:
      return read_numbers<uint32_t, int64_t>(count);
    case i32:
      return read_numbers<int32_t, int64_t>(count);
    case u64:
      return read_numbers<uint64_t, int64_t>(count);
    case i64:
      return read_numbers<int64_t, int64_t>(count);
    case f32:
      return read_numbers<float, double>(count);
    case f64:
      return read_numbers<double, double>(count);
    case boolean: {
      std::vector<bool> values;
      values.reserve(static_cast<size_t>(count));
      for (uint64_t i = 0; i < count; ++i) {
        MOXIE_TRY(const bool value, read_bool(key));
        values.push_back(value);
      }
      return MetadataValue(std::move(values));
    }
    default: {
      std::vector<std::string> values;
      values.reserve(static_cast<size_t>(count));
      for (uint64_t i = 0; i < count; ++i) {
        MOXIE_TRY(std::string value, read_text(key));
        values.push_back(std::move(value));
      }
      return MetadataValue(std::move(values));
    }
  }
}

}  // namespace moxie

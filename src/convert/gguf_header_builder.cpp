#include "convert/gguf_header_builder.h"

#include <cstring>

namespace moxie {
namespace {

enum ValueType : uint32_t {
  kU16 = 2,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11
};

}  // namespace

template <typename T>
void GgufHeaderBuilder::put(std::string& to, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  to.append(bytes, sizeof value);
}

void GgufHeaderBuilder::put_size(std::string& to, uint64_t size) const {
  if (version_ == 1) {
    put(to, static_cast<uint32_t>(size));
  } else {
    put(to, size);
  }
}

void GgufHeaderBuilder::put_text(std::string& to, std::string_view text) const {
  put_size(to, text.size());
  to += text;
}

void GgufHeaderBuilder::begin(std::string_view key, uint32_t type) {
  ++keys_;
  put_text(key_bytes_, key);
  put(key_bytes_, type);
}

void GgufHeaderBuilder::raw(std::string_view bytes) {
  ++keys_;
  key_bytes_ += bytes;
}

void GgufHeaderBuilder::raw(std::string_view key, std::string_view value) {
  ++keys_;
  put_text(key_bytes_, key);
  key_bytes_ += value;
}

void GgufHeaderBuilder::text(std::string_view key, std::string_view value) {
  begin(key, kText);
  put_text(key_bytes_, value);
}

void GgufHeaderBuilder::texts(std::string_view key, const std::vector<std::string>& values) {
  begin(key, kArray);
  put<uint32_t>(key_bytes_, kText);
  put_size(key_bytes_, values.size());
  for (const std::string& value : values) put_text(key_bytes_, value);
}

template <typename T>
void GgufHeaderBuilder::scalar(std::string_view key, uint32_t type, T value) {
  begin(key, type);
  put(key_bytes_, value);
}

template <typename T>
void GgufHeaderBuilder::array(std::string_view key, uint32_t type, std::span<const T> values) {
  begin(key, kArray);
  put(key_bytes_, type);
  put_size(key_bytes_, values.size());
  for (const T value : values) put(key_bytes_, value);
}

void GgufHeaderBuilder::u16(std::string_view key, uint16_t value) {
  scalar(key, kU16, value);
}
void GgufHeaderBuilder::u32(std::string_view key, uint32_t value) {
  scalar(key, kU32, value);
}
void GgufHeaderBuilder::i32(std::string_view key, int32_t value) {
  scalar(key, kI32, value);
}
void GgufHeaderBuilder::f32(std::string_view key, float value) {
  scalar(key, kF32, value);
}
void GgufHeaderBuilder::boolean(std::string_view key, bool value) {
  scalar(key, kBool, static_cast<uint8_t>(value));
}

size_t GgufHeaderBuilder::u64(std::string_view key, uint64_t value) {
  scalar(key, kU64, value);
  return start().size() + key_bytes_.size() - sizeof value;
}

void GgufHeaderBuilder::i64s(std::string_view key, std::span<const int64_t> values) {
  array(key, kI64, values);
}
void GgufHeaderBuilder::i32s(std::string_view key, std::span<const int32_t> values) {
  array(key, kI32, values);
}
void GgufHeaderBuilder::f32s(std::string_view key, std::span<const float> values) {
  array(key, kF32, values);
}

void GgufHeaderBuilder::tensor(std::string_view name, const QuantType& type, std::span<const int64_t> shape,
                               uint64_t bytes) {
  ++tensors_;
  put_text(tensor_bytes_, name);
  put(tensor_bytes_, static_cast<uint32_t>(shape.size()));
  for (size_t i = shape.size(); i-- > 0;) put_size(tensor_bytes_, static_cast<uint64_t>(shape[i]));
  put(tensor_bytes_, static_cast<uint32_t>(type.gguf_id));
  put(tensor_bytes_, data_bytes_);
  data_bytes_ = aligned(data_bytes_ + bytes);
}

std::string GgufHeaderBuilder::start() const {
  std::string out = "GGUF";
  put(out, version_);
  put_size(out, tensors_);
  put_size(out, keys_);
  return out;
}

std::string GgufHeaderBuilder::build() const {
  std::string out = start() + key_bytes_ + tensor_bytes_;
  out.resize(aligned(out.size()), '\0');
  return out;
}

}  // namespace moxie

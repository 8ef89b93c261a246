// Builds the bytes of a GGUF header, little-endian. Plain; belongs to one thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/quant_type.h"

namespace moxie {

class GgufHeaderBuilder {
 public:
  // REQUIRES: 1 <= version <= 3; alignment is a power of two.
  GgufHeaderBuilder(uint32_t version, uint64_t alignment) : version_(version), alignment_(alignment) {}

  // A key and its value as a header of this version has them.
  void raw(std::string_view bytes);
  // Likewise with the type and value alone encoded.
  void raw(std::string_view key, std::string_view value);
  void text(std::string_view key, std::string_view value);
  void texts(std::string_view key, const std::vector<std::string>& values);
  void u16(std::string_view key, uint16_t value);
  void u32(std::string_view key, uint32_t value);
  void i32(std::string_view key, int32_t value);
  void f32(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  // Returns the place of the eight bytes in what build() gives.
  size_t u64(std::string_view key, uint64_t value);
  void i64s(std::string_view key, std::span<const int64_t> values);
  void i32s(std::string_view key, std::span<const int32_t> values);
  void f32s(std::string_view key, std::span<const float> values);
  // Tensors lie behind each other in the order of these calls. shape: outermost first.
  void tensor(std::string_view name, const QuantType& type, std::span<const int64_t> shape, uint64_t bytes);

  // With zeros up to where the tensors begin.
  std::string build() const;
  uint64_t data_bytes() const { return data_bytes_; }  // of all tensors with what lies between them
  uint64_t aligned(uint64_t bytes) const { return (bytes + alignment_ - 1) & ~(alignment_ - 1); }

 private:
  template <typename T>
  static void put(std::string& to, T value);
  void put_size(std::string& to, uint64_t size) const;
  void put_text(std::string& to, std::string_view text) const;
  void begin(std::string_view key, uint32_t type);
  template <typename T>
  void scalar(std::string_view key, uint32_t type, T value);
  template <typename T>
  void array(std::string_view key, uint32_t type, std::span<const T> values);
  std::string start() const;

  uint32_t version_;
  uint64_t alignment_;
  uint64_t keys_ = 0, tensors_ = 0;
  std::string key_bytes_, tensor_bytes_;
  uint64_t data_bytes_ = 0;
};

}  // namespace moxie

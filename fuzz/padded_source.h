// The fuzzer's bytes followed by zeros that take no memory: lets a small input describe tensors that lie within the
// file.
#pragma once

#include <algorithm>
#include <string>

#include "core/byte_reader.h"

namespace moxie {

class PaddedSource final : public ByteSource {
 public:
  PaddedSource(std::string_view bytes, uint64_t zeros) : bytes_(bytes), zeros_(zeros) {}
  const std::string& path() const override { return name_; }
  uint64_t bytes() const override { return bytes_.size() + zeros_; }
  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    const uint64_t inside = offset < bytes_.size() ? std::min<uint64_t>(into.size(), bytes_.size() - offset) : 0;
    if (inside > 0) std::memcpy(into.data(), bytes_.data() + offset, inside);
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(inside), into.end(), std::byte{0});
    return {};
  }

 private:
  std::string name_ = "fuzz";
  std::string_view bytes_;
  uint64_t zeros_;
};

}  // namespace moxie

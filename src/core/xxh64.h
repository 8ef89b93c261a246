// XXH64 (Yann Collet's xxHash, seed 0): a checksum that keeps up with any drive without special instructions. It tells
// damage, not forgery. An Xxh64 belongs to one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace moxie {

class Xxh64 {
 public:
  void update(std::span<const std::byte> bytes);
  uint64_t digest() const;  // of everything so far; more may follow

 private:
  static constexpr size_t kStripe = 32;
  static constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87u;
  static constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4Fu;

  std::array<uint64_t, 4> lanes_ = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  std::array<std::byte, kStripe> rest_{};  // of a stripe that is not complete
  size_t rest_bytes_ = 0;
  uint64_t total_ = 0;
};

uint64_t xxh64(std::span<const std::byte> bytes);

}  // namespace moxie

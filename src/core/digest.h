// SHA-256 and SHA-1 of bytes that come piece by piece (FIPS 180-4): to compare a file with what a hub says it is, not
// to keep secrets. An object belongs to one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace moxie {

// What both have in common: blocks of 64 bytes, the length in bits at the end.
class BlockDigest {
 public:
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text.data(), text.size()))); }

 protected:
  static constexpr size_t kBlockBytes = 64;
  using Compress = void (*)(uint32_t* state, const std::byte* blocks, size_t count);
  explicit BlockDigest(Compress compress) : compress_(compress) {}
  std::string finish(size_t words);

  std::array<uint32_t, 8> state_{};

 private:
  Compress compress_;
  std::array<std::byte, kBlockBytes> pending_{};
  size_t pending_bytes_ = 0;
  uint64_t bytes_ = 0;
};

class Sha256 : public BlockDigest {
 public:
  Sha256();
  // Lower-case hexadecimal, 64 digits. The object is of no use afterwards.
  std::string hex() { return finish(8); }
};

class Sha1 : public BlockDigest {
 public:
  Sha1();
  std::string hex() { return finish(5); }  // 40 digits
};

}  // namespace moxie

// The typed values of GGUF metadata. A reader belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/byte_reader.h"
#include "format/metadata.h"

namespace moxie {

// A length or count: u32 in version 1, u64 since.
Result<uint64_t> read_gguf_size(ByteReader& in, uint32_t version);

class GgufValueReader {
 public:
  GgufValueReader(ByteReader& in, uint32_t version) : in_(in), version_(version) {}
  // Counts memory about to be taken for `key`; corrupt beyond what any real header needs. REQUIRES: bytes < 2^62.
  Result<void> take_memory(std::string_view key, uint64_t bytes);
  // The value type and the value of `key`.
  Result<MetadataValue> read(std::string_view key);

 private:
  Result<MetadataValue> read_scalar(std::string_view key, uint32_t type);
  Result<MetadataValue> read_array(std::string_view key);
  Result<std::string> read_text(std::string_view key);
  template <typename From, typename To>
  Result<MetadataValue> read_numbers(uint64_t count);
  Result<bool> read_bool(std::string_view key);

  ByteReader& in_;
  uint32_t version_;
  uint64_t memory_bytes_ = 0;  // of all values kept
};

}  // namespace moxie

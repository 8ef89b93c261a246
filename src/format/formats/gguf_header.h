// The header of one GGUF file, checked: nothing in it points outside the file. Plain data; parsing is thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/byte_reader.h"
#include "core/tokenizer_source.h"
#include "format/weight_file.h"

namespace moxie {

// Where a key and its value stand in the file.
struct GgufKeyPlace {
  std::string key;
  uint64_t begin = 0;  // the key's length
  uint64_t value = 0;  // the value's type
  uint64_t end = 0;
};

struct GgufHeader {
  uint32_t version = 0;
  std::vector<GgufKeyPlace> keys;   // in file order
  uint64_t data_start = 0;          // where the tensors' bytes begin; 0 without tensors
  Metadata metadata;                // all keys but the arrays of the vocabulary
  GgufVocabulary vocabulary;        // empty tokens: none
  std::vector<TensorInfo> tensors;  // in file order; offsets from the start of the file
  std::vector<std::string> notices;

  // 0 and 1: an ordinary file. Numbers as the file says, unchecked beyond their kind.
  int64_t split_count() const { return metadata.integer("split.count").value_or(0); }
  int64_t split_number() const { return metadata.integer("split.no").value_or(-1); }
  int64_t split_tensors() const { return metadata.integer("split.tensors.count").value_or(-1); }
};

Result<GgufHeader> read_gguf_header(const ByteSource& source);

}  // namespace moxie

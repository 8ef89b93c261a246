// The header of one safetensors file, checked: the tensors cover its data exactly. Plain data; parsing is thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/byte_reader.h"
#include "format/weight_file.h"

namespace moxie {

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;  // "__metadata__"
  std::vector<TensorInfo> tensors;              // by offset; offsets from the start of the file
};

// Does a file begin as safetensors do? The header may be cut off.
bool begins_as_safetensors(std::string_view first_bytes);
Result<SafetensorsHeader> read_safetensors_header(const ByteSource& source);

}  // namespace moxie

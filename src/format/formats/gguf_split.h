// Models spread over several GGUF files: finding all parts from any one of them. Stateless, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/formats/gguf_header.h"
#include "moxie/error.h"

namespace moxie {

struct GgufPart {
  std::string path;
  uint64_t bytes = 0;
  GgufHeader header;
};

// "<prefix>-00002-of-00005.gguf"
struct GgufPartName {
  std::string prefix;
  int64_t number = 0;  // from 1
  int64_t count = 0;
};
std::optional<GgufPartName> parse_gguf_part_name(std::string_view name);
std::string gguf_part_name(std::string_view prefix, int64_t number, int64_t count);

// The headers of all parts in order, the given file being any of them, or the only one.
Result<std::vector<GgufPart>> read_gguf_parts(const std::string& path);

// What a GGUF file is that is no model ("an adapter (LoRA)"); empty for a model.
std::string_view gguf_side_file(const Metadata& metadata);

// The .gguf of a folder to open: its only model, or any part of its only model. Errors where there are several.
Result<std::string> choose_gguf(const std::string& folder);

}  // namespace moxie

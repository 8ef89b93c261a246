// The files themselves: versions, parts and packings that load here and not everywhere.
#include <fmt/format.h>

#include <algorithm>

#include "core/folder.h"
#include "doctor/check.h"
#include "format/formats/gguf_split.h"

namespace moxie::checks {
namespace {

// candle's readers know these and no others.
bool is_common_type(int id) {
  return (id >= 0 && id <= 3) || (id >= 6 && id <= 15) || id == 30;
}

void run(const CheckInput& input, Findings& findings) {
  const WeightFiles& files = input.files;
  if (files.format == "GGUF v1")
    findings.add({.code = "gguf-v1", .found = "version 1", .expected = "version 3 elsewhere"});
  if (files.files.size() > 1 && files.scheme == NameScheme::gguf) {
    const auto part = parse_gguf_part_name(file_name(files.path));
    if (part && part->number > 1) {
      findings.add({.code = "not-the-first-part",
                    .found = fmt::format("part {}", part->number),
                    .expected = gguf_part_name(part->prefix, 1, part->count)});
    }
  }
  if (files.scheme == NameScheme::gguf) {
    for (const TensorInfo& tensor : files.tensors) {
      if (tensor.type == nullptr || is_common_type(tensor.type->gguf_id)) continue;
      findings.add({.code = "uncommon-types", .found = fmt::format("{} of {}", tensor.name, tensor.dtype)});
      break;
    }
    return;
  }
  const auto packed = std::find_if(files.tensors.begin(), files.tensors.end(), [](const TensorInfo& tensor) {
    return tensor.parted && !is_unquantized(*tensor.type);
  });
  if (packed == files.tensors.end()) return;
  const auto method = files.metadata.text("quantization_config.quant_method");
  const std::string found = fmt::format("{} of {}", packed->name, packed->dtype);
  findings.add({.code = method ? "quantized-checkpoint" : "mlx-weights",
                .found = method ? fmt::format("{} ({})", found, *method) : found,
                .expected = "plain weights elsewhere"});
}

}  // namespace

extern constinit const ModelCheck container = {.name = "container", .run = run};

}  // namespace moxie::checks

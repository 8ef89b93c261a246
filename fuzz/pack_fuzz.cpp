// Packs: a header is accepted only when its checksum is right, so each input is tried as it is and with its checksum
// mended.
#include "core/check.h"
#include "format/formats/gguf_pack.h"
#include "padded_source.h"

using namespace moxie;

namespace {

constexpr uint64_t kZeros = 1 << 14;

void use(GgufHeader header) {
  WeightFiles files;
  files.path = "fuzz";
  for (TensorInfo& tensor : header.tensors) {
    MOXIE_CHECK(tensor.checksum.has_value() && tensor.offset % kPackAlignment == 0);
    files.add(std::move(tensor));
  }
  files.metadata = std::move(header.metadata);
  const auto restored = restore_source(files);
  MOXIE_CHECK(restored.ok() ? files.pack_layout.has_value() : !restored.error().message.empty());
}

void read(std::string_view text) {
  const PaddedSource source(text, kZeros);
  auto header = read_gguf_header(source);
  if (!header.ok() || !is_pack(*header)) return;
  const auto checked = check_pack(source, *header);
  MOXIE_CHECK(checked.ok() || !checked.error().message.empty());
  if (checked.ok()) use(std::move(*header));
}

std::string mended(std::string text) {
  const PaddedSource source(text, kZeros);
  const auto header = read_gguf_header(source);
  if (!header.ok()) return {};
  for (const GgufKeyPlace& place : header->keys) {
    if (place.key != pack_keys::kHeader || place.end - place.value != 12 || place.end > text.size() ||
        header->data_start < place.end)
      continue;
    const auto checksum = pack_header_checksum(source, header->data_start, place.value + 4);
    if (!checksum.ok()) return {};
    std::memcpy(text.data() + place.value + 4, &*checksum, sizeof *checksum);
    return text;
  }
  return {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  read(text);
  if (const std::string sound = mended(text); !sound.empty()) read(sound);
  return 0;
}

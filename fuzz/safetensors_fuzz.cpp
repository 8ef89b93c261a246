// Safetensors headers: whatever parses covers the data exactly.
#include "core/check.h"
#include "format/formats/safetensors_header.h"
#include "format/formats/safetensors_quantized.h"
#include "padded_source.h"

using namespace moxie;

namespace {

void read(std::string_view text, uint64_t zeros) {
  const PaddedSource source(text, zeros);
  auto header = read_safetensors_header(source);
  if (!header.ok()) {
    MOXIE_CHECK(!header.error().message.empty());
    return;
  }
  uint64_t end = 0;
  WeightFiles files;
  for (TensorInfo& tensor : header->tensors) {
    MOXIE_CHECK(end == 0 || tensor.offset == end);
    end = tensor.offset + tensor.bytes;
    MOXIE_CHECK(tensor.elements() >= 0);
    files.add(std::move(tensor));  // checks that names are distinct
  }
  MOXIE_CHECK(header->tensors.empty() || end == source.bytes());
  (void)refuse_quantized(files);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read(text, 0);
  // With data behind a header that came without.
  for (const uint64_t zeros : {4, 16, 64}) read(text, zeros);
  return 0;
}

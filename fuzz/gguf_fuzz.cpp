// GGUF headers: whatever parses must lie within the file, tensor by tensor.
#include "core/check.h"
#include "format/formats/gguf_header.h"
#include "format/sniff.h"
#include "padded_source.h"

using namespace moxie;

namespace {

void read(std::string_view text, uint64_t zeros) {
  const PaddedSource source(text, zeros);
  auto header = read_gguf_header(source);
  if (!header.ok()) {
    MOXIE_CHECK(!header.error().message.empty());
    return;
  }
  WeightFiles files;
  for (TensorInfo& tensor : header->tensors) {
    MOXIE_CHECK(tensor.type != nullptr);
    MOXIE_CHECK(tensor.offset <= source.bytes() && tensor.bytes <= source.bytes() - tensor.offset);
    const auto blocks = static_cast<uint64_t>(tensor.elements()) / static_cast<uint64_t>(tensor.type->block_values);
    MOXIE_CHECK(tensor.bytes == blocks * static_cast<uint64_t>(tensor.type->block_bytes));
    files.add(std::move(tensor));  // checks that names are distinct
  }
  const GgufVocabulary& vocabulary = header->vocabulary;
  for (const auto& [name, id] : vocabulary.special_ids) {
    MOXIE_CHECK(id >= 0 && static_cast<size_t>(id) < vocabulary.tokens.size());
  }
  files.nearest("blk.0.ffn_down_exps.weight");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read(text, 0);
  read(text, 1 << 14);
  unknown_file_error("fuzz", text, size);
  return 0;
}

// Quantized checkpoints: a line of config.json, then a safetensors file. Whatever the schemes join consists of parts
// that are there, and every value that a decoder would look at lies in them.
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "core/check.h"
#include "format/config.h"
#include "format/formats/safetensors_header.h"
#include "format/quantized_scheme.h"

using namespace moxie;

namespace {

// A file in memory, since schemes read small tensors from files.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view text) : descriptor_(memfd_create("fuzz", 0)) {
    MOXIE_CHECK(descriptor_ >= 0 && write(descriptor_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

void check(const TensorInfo& tensor, uint64_t file_bytes) {
  MOXIE_CHECK(tensor.elements() >= 0);
  if (!tensor.parted) return;
  const PartedLayout& layout = tensor.parted->layout;
  const std::vector<TensorPart>& parts = tensor.parted->parts;
  MOXIE_CHECK(tensor.type->parted() && layout.rows * layout.columns == tensor.elements());
  MOXIE_CHECK(layout.group > 0 && layout.group_rows > 0 && !parts.empty() && parts.size() <= kPartsMax);
  for (const TensorPart& part : parts) {
    MOXIE_CHECK(part.offset + part.bytes <= file_bytes);
    MOXIE_CHECK(part.row_bytes == 0 || part.row_bytes * static_cast<uint64_t>(layout.rows) == part.bytes);
  }
  MOXIE_CHECK(layout.row_begin >= 0 && layout.row_begin < layout.row_step && layout.column_step >= 0);
  const bool whole_groups = layout.group % 32 == 0 && layout.columns % layout.group == 0;
  MOXIE_CHECK(!tensor.type->native || layout.column_step > 0 || whole_groups);
  MOXIE_CHECK(static_cast<uint64_t>(tensor.elements()) * layout.bits <= parts[0].bytes * 8);
  if (tensor.elements() > 1'000'000) return;
  // Zeros in memory of just the size of the parts, watched by the allocator's sanitizer where it is on.
  std::vector<std::vector<std::byte>> copies;
  PartedWeights weights{.layout = layout};
  for (size_t i = 0; i < parts.size(); ++i) {
    copies.emplace_back(parts[i].bytes);
    weights.part[i] = copies.back().data();
  }
  std::vector<float> row(static_cast<size_t>(layout.columns));
  for (const int64_t number : {int64_t{0}, layout.rows - 1})
    tensor.type->decode_columns(weights, number, 0, layout.columns, row.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) return 0;
  auto config = parse_config(text.substr(0, end), "config");
  if (!config.ok()) return 0;
  const MemoryFile file(text.substr(end + 1));
  const auto source = FileSource::open(file.path());
  if (!source.ok()) return 0;
  auto header = read_safetensors_header(*source);
  if (!header.ok()) return 0;
  WeightFiles files;
  files.path = "fuzz";
  files.metadata = std::move(*config);
  files.files.push_back({.path = file.path(), .bytes = source->bytes()});
  for (TensorInfo& tensor : header->tensors) files.add(std::move(tensor));
  const auto joined = join_quantized(std::move(files));
  if (!joined.ok()) {
    MOXIE_CHECK(!joined.error().message.empty());
    return 0;
  }
  for (const TensorInfo& tensor : joined->tensors) check(tensor, source->bytes());
  return 0;
}

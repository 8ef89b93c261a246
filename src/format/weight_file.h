// A model's weight files, opened: headers only, no weights read. Every format yields the same thing. Plain data,
// immutable once opened, so any thread may read it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/tokenizer_source.h"
#include "format/metadata.h"
#include "moxie/error.h"
#include "quant/quant_type.h"

namespace moxie {

// Whose tensor names a file uses. Families know their roles' names in each scheme.
enum class NameScheme { gguf, hugging_face };

// One of the places where the bytes of a matrix lie, if its parts lie apart.
struct TensorPart {
  int file = 0;
  uint64_t offset = 0, bytes = 0;
  // Of one row of the matrix, with those that lie in turn with it; where columns lie apart, of a row on average, and
  // whole matrices can be taken alone. 0: the part belongs to all rows, and rows cannot be taken alone.
  uint64_t row_bytes = 0;
};
struct PartedTensor {
  PartedLayout layout;            // rows are those of all leading dimensions
  std::vector<TensorPart> parts;  // as the type numbers them, at most kPartsMax
};

struct TensorInfo {
  std::string name;
  const QuantType* type = nullptr;  // baseline entry; null for a dtype that no weight type stands for (I32, U8, ...)
  std::string dtype;                // as the file spells it: "Q4_K", "BF16", "I32"
  std::vector<int64_t> shape;  // outermost first, the contiguous dimension last (torch order); GGUF dims are reversed
  int file = 0;                // index into WeightFiles::files
  uint64_t offset = 0;         // from the start of that file
  uint64_t bytes = 0;
  std::optional<uint64_t> checksum;  // XXH64 of its bytes, where the file tells
  // Set where its parts lie apart: file and offset are then those of the first part, bytes those of all, or its share
  // of them where another tensor lies in the same ones.
  std::shared_ptr<const PartedTensor> parted;

  int64_t elements() const;
  std::vector<TensorPart> parts() const;  // one where there are no others
};

struct WeightPart {
  std::string path;
  uint64_t bytes = 0;
};

class WeightFiles {
 public:
  std::string path;    // as given
  std::string format;  // "GGUF v3", "safetensors"
  NameScheme scheme = NameScheme::gguf;
  Metadata metadata;
  std::string config;  // config.json as it is; empty where the facts stand in GGUF keys
  TokenizerSource tokenizer;
  std::vector<WeightPart> files;
  std::vector<TensorInfo> tensors;     // in file order
  std::vector<std::string> notices;    // what is odd but harmless, one sentence each
  std::optional<int64_t> pack_layout;  // set: an aligned pack, with its experts in this layout (formats/gguf_pack.h)

  void add(TensorInfo tensor);  // REQUIRES: the name is new
  const TensorInfo* find(std::string_view name) const;
  // The known name most like `name` (edit distance), for error messages; empty when nothing is near.
  std::string nearest(std::string_view name) const;
  uint64_t total_bytes() const;  // of all tensors

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> by_name_;
};

// Opens a .gguf (any shard of a split file), a folder or index of safetensors, or one .safetensors. Sniffs the first
// bytes and refuses what is something else (LFS pointer, web page, pickle, ...) by name with a remedy. Checks every
// extent against the file.
Result<WeightFiles> open_weights(const std::string& path);

// One weight format: an entry in formats.inc.
struct WeightFormat {
  std::string_view name;  // "gguf"
  std::string_view summary;
  // Does a file that begins with these bytes (up to 64 KiB), or this folder, belong to the format?
  bool (*recognises_file)(std::string_view first_bytes, uint64_t file_bytes);
  bool (*recognises_folder)(const std::string& path);
  Result<WeightFiles> (*open)(const std::string& path);
};

}  // namespace moxie

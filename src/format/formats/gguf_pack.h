// Aligned packs: GGUF files of one part, written by `moxie convert --pack`, whose keys "moxie.pack.*" say more than
// GGUF does. docs/memory.md describes the form. Stateless, thread-safe.
//
// Tensors begin on multiples of 4 KiB: dense ones first, then the experts layer by layer, one after the other, each one
// record of gate, up and down. Names, types and bytes are the source's; a merged tensor's experts have the names that
// GGUF and Hugging Face give to experts with a tensor each.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/byte_reader.h"
#include "format/formats/gguf_header.h"
#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

constexpr uint64_t kPackAlignment = 4096;
constexpr int64_t kPlainRowsLayout = 0;  // the only one so far

namespace pack_keys {
constexpr std::string_view kPrefix = "moxie.pack.";
constexpr std::string_view kLayout = "moxie.pack.layout";        // u32
constexpr std::string_view kNames = "moxie.pack.names";          // whose tensor names: "gguf", "hugging_face"
constexpr std::string_view kHeader = "moxie.pack.header";        // u64: pack_header_checksum()
constexpr std::string_view kChecksums = "moxie.pack.checksums";  // i64 array, the bits of XXH64, one for each tensor
constexpr std::string_view kFile = "moxie.pack.file.";           // + name: a file beside safetensors, as it is
constexpr std::string_view kTemplate = "moxie.pack.template.";   // + name: a named chat template beside safetensors
// Where it comes from, for people.
constexpr std::string_view kSourceFormat = "moxie.pack.source.format";
constexpr std::string_view kSourceFiles = "moxie.pack.source.files";
constexpr std::string_view kSourceBytes = "moxie.pack.source.bytes";
// Of every tensor's name, type, shape and checksum: equal for sources of equal weights.
constexpr std::string_view kFingerprint = "moxie.pack.source.fingerprint";
}  // namespace pack_keys

bool is_pack(const GgufHeader& header);
// XXH64 of the bytes before `data_start`, the eight at `field` taken as zero.
Result<uint64_t> pack_header_checksum(const ByteSource& source, uint64_t data_start, uint64_t field);
// Checks what a pack's header must hold and gives its tensors their checksums. Errors: corrupt; unsupported for a
// layout that is not known.
Result<void> check_pack(const ByteSource& source, GgufHeader& header);
// Makes of a pack opened as GGUF what its source was. REQUIRES: check_pack().
Result<void> restore_source(WeightFiles& files);

}  // namespace moxie

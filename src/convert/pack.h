// Aligned packs (format/formats/gguf_pack.h): writing one, and checking one against its checksums. The functions belong
// to the thread that calls them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/log.h"
#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

using ConvertProgress = std::function<bool(uint64_t done, uint64_t total)>;  // in bytes; false gives up

struct PackOptions {
  std::string arch;        // family instead of the one the file names; empty: the file's
  bool overwrite = false;  // a file at the same path, but never the source itself
  ConvertProgress on_progress;
};

struct PackSummary {
  uint64_t bytes = 0;         // of the file
  uint64_t expert_bytes = 0;  // of all records
  int64_t experts = 0, dense_tensors = 0;
  uint64_t fingerprint = 0;
};

// Writes `source` to `path` as a pack. Bytes are copied, never converted; memory is bounded whatever the model's size.
// Errors: invalid_argument (path is the source, or taken), unsupported, io (disk full), cancelled. After an error
// nothing is left at `path` that was not there before.
Result<PackSummary> write_pack(const WeightFiles& source, const std::string& path, const PackOptions& options,
                               Log& log);

struct VerifySummary {
  int64_t tensors = 0;
  uint64_t bytes = 0;
};
// Reads everything. Errors: unsupported where the file has no checksums; corrupt, naming the first tensors that are
// damaged and how many there are.
Result<VerifySummary> verify_checksums(const WeightFiles& files, const ConvertProgress& on_progress = {});

}  // namespace moxie

// Weights that are quantized while a model opens: converted to a file, exactly as `moxie convert --type` does it, which
// then runs in place of the source. The file is kept and found again, or goes with the engine.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/disappearing_file.h"
#include "core/log.h"
#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

struct QuantizeRequest {
  std::string type;    // as `convert --type` takes it
  std::string arch;    // family instead of the one the source names; empty: the source's
  std::string folder;  // where the file is written
  bool keep = false;   // and stays; one that is there already is taken
  int threads = 1;
  std::function<bool(uint64_t done, uint64_t total)> on_progress;
};

struct QuantizedWeights {
  WeightFiles files;  // with the path and the tokenizer of the source
  // What outlives them where the file is not kept: it opens as long as this is there.
  std::optional<DisappearingFile> file;
};

// Nothing where the source is quantized already, which is said. Errors: invalid_argument (no such type), those of
// convert_to_gguf().
Result<std::optional<QuantizedWeights>> quantize_opened(const WeightFiles& source, const QuantizeRequest& request,
                                                        Log& log);

}  // namespace moxie

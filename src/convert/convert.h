// Any model that opens, written as GGUF: its bytes as they are, or encoded in another type; experts of a layer in one
// tensor or one by one; in one file or several. The functions belong to the thread that calls them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "convert/gguf_tensors.h"
#include "convert/importance.h"
#include "convert/mixture.h"
#include "convert/pack.h"
#include "core/log.h"
#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

// Tensors whose name the expression is found in get this type.
struct TypeOverride {
  std::string pattern;
  const QuantType* type = nullptr;
};
// "attn_v=q8_0". Errors: invalid_argument, also for types that moxie does not write.
Result<TypeOverride> parse_type_override(const std::string& text);

struct ConvertOptions {
  const Mixture* mixture = nullptr;  // null: every tensor keeps its bytes
  MixtureYear year = MixtureYear::present;
  ExpertForm experts = ExpertForm::merged;
  std::vector<TypeOverride> overrides;  // the first that fits counts
  const ImportanceMatrix* importance = nullptr;
  uint64_t split_bytes = 0;  // largest size of a part; 0: one file
  std::string arch;          // family instead of the one the file names; empty: the file's
  bool overwrite = false;    // what an earlier conversion left there, but never the source itself
  bool dry_run = false;      // only count
  int threads = 1;
  ConvertProgress on_progress;
};

struct ConvertSummary {
  struct Share {
    std::string type;
    int64_t tensors = 0;
    uint64_t bytes = 0;
  };
  std::vector<std::string> paths;  // of the files
  uint64_t bytes = 0;              // of all files
  int64_t tensors = 0;
  std::vector<Share> types;      // the largest first
  std::optional<Error> refusal;  // of a dry run: why it would not be written
};

// Writes `source` to `path`, or to parts named after it. Memory is bounded whatever the model's size. Errors:
// invalid_argument (a path is the source's, or taken), unsupported, io (disk full), cancelled. After an error nothing
// is left that was not there before.
Result<ConvertSummary> convert_to_gguf(const WeightFiles& source, const std::string& path,
                                       const ConvertOptions& options, Log& log);

// Sets the type of every tensor. Errors: unsupported, naming the tensor and what to do.
Result<void> choose_types(const WeightFiles& source, const ModelPlan& plan, const ConvertOptions& options,
                          std::vector<OutputTensor>& tensors, Log& log);

}  // namespace moxie

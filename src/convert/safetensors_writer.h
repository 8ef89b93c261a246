// Any model that opens, written as a folder of safetensors as Hugging Face's programs have it: weights, config.json,
// tokenizer. The functions belong to the thread that calls them.
#pragma once

#include <string>

#include "convert/convert.h"

namespace moxie {

struct SafetensorsOptions {
  const QuantType* type = nullptr;  // f32, f16 or bf16: of all matrices; null: see hugging_face_tensors()
  uint64_t split_bytes = 0;         // largest size of a file; 0: one file
  std::string arch;                 // family instead of the one the source names; empty: the source's
  bool overwrite = false;           // what an earlier conversion left there, but never the source itself
  bool dry_run = false;             // only count
  int threads = 1;
  ConvertProgress on_progress;
};

// Writes `source` into `folder`, which is made where it is absent. Memory is bounded whatever the model's size. Each
// file appears when it is complete, that which says where tensors are last of all. Errors: as convert_to_gguf().
Result<ConvertSummary> convert_to_safetensors(const WeightFiles& source, const std::string& folder,
                                              const SafetensorsOptions& options, Log& log);

}  // namespace moxie

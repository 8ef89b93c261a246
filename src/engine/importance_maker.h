// Makes an importance matrix: a text goes through a model in chunks, and what each matrix is multiplied with is summed.
// Other sequences of the engine wait until it is done.
#pragma once

#include <atomic>
#include <functional>
#include <span>

#include "convert/importance.h"
#include "moxie/engine.h"

namespace moxie {

struct ImportanceOptions {
  int64_t chunk_tokens = 512;  // each is computed on its own, its first token replaced by the start of a text
  int64_t chunks = -1;         // at most; -1: all whole ones
  bool output = false;         // the output matrix too
  const std::atomic<bool>* stop = nullptr;  // becoming true ends it, with Error cancelled
};

// on_chunk gets chunks done and in all. Errors: a text shorter than a chunk, a chunk that does not fit into the
// context; what computing fails with.
Result<ImportanceMatrix> make_importance(Engine& engine, std::span<const int32_t> ids, const ImportanceOptions& options,
                                         const std::function<void(int64_t done, int64_t total)>& on_chunk = {});

}  // namespace moxie

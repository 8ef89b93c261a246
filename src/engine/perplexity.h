// How surprised a model is by a text, by llama.cpp's method, so that figures compare. One measurement at a time per
// engine.
//
// The ids are cut into chunks of chunk_tokens. Each chunk is computed on its own, with its first id replaced by the
// start-of-text token where the tokenizer adds one; the second half of its predictions counts. The error is the
// standard error of the mean, carried over to the perplexity.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "moxie/engine.h"

namespace moxie {

struct PerplexityOptions {
  int64_t chunk_tokens = 512;
  int64_t chunks = -1;         // at most; -1: all
  bool single_tokens = false;  // computed one by one, as when generating
};

struct PerplexityResult {
  int64_t chunks = 0, chunks_total = 0;
  int64_t tokens = 0;   // scored
  double mean_nll = 0;  // nats per token
  double perplexity = 0;
  double error = 0;  // standard error of the perplexity; 0 while it cannot be told
};

// on_chunk gets the running result after each chunk; false stops with Error cancelled. Errors: a text shorter than one
// chunk, a chunk larger than the context.
Result<PerplexityResult> measure_perplexity(const Engine& engine, Sequence& sequence, std::span<const int32_t> ids,
                                            const PerplexityOptions& options,
                                            const std::function<bool(const PerplexityResult&)>& on_chunk = {});

// -log of the softmax probability of `id`, in double precision. REQUIRES: id is within logits.
double negative_log_likelihood(std::span<const float> logits, int32_t id);

}  // namespace moxie

#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/fail.h"

namespace moxie {

double negative_log_likelihood(std::span<const float> logits, int32_t id) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  return std::log(sum) + max - logits[static_cast<size_t>(id)];
}

Result<PerplexityResult> measure_perplexity(const Engine& engine, Sequence& sequence, std::span<const int32_t> ids,
                                            const PerplexityOptions& options,
                                            const std::function<bool(const PerplexityResult&)>& on_chunk) {
  const int64_t chunk = options.chunk_tokens;
  const auto count = static_cast<int64_t>(ids.size());
  if (chunk < 4)
    return fail(ErrorCode::invalid_argument, "chunks of {} tokens are too short to score; take 4 or more", chunk);
  if (chunk > engine.runtime().context_tokens) {
    return fail(ErrorCode::invalid_argument, "chunks of {} tokens do not fit into a context of {}", chunk,
                engine.runtime().context_tokens);
  }
  if (count < chunk) {
    return fail(ErrorCode::invalid_argument,
                "the text has {} tokens, fewer than one chunk of {}; give a longer one or a smaller -c", count, chunk);
  }
  PerplexityResult result;
  result.chunks_total = options.chunks >= 0 ? std::min(options.chunks, count / chunk) : count / chunk;
  const int64_t first = chunk / 2;
  const bool replace = engine.adds_bos() && engine.bos() >= 0;
  double sum = 0, squares = 0;
  std::vector<int32_t> part;
  for (int64_t index = 0; index < result.chunks_total; ++index) {
    const auto from = ids.subspan(static_cast<size_t>(index * chunk), static_cast<size_t>(chunk));
    part.assign(from.begin(), from.end());
    if (replace) part[0] = engine.bos();
    MOXIE_TRY_VOID(sequence.truncate(0));
    const auto score = [&](int64_t position, std::span<const float> logits) {
      if (position < first || position + 1 >= chunk) return;
      const double nll = negative_log_likelihood(logits, part[static_cast<size_t>(position + 1)]);
      sum += nll;
      squares += nll * nll;
      ++result.tokens;
    };
    const auto step = static_cast<size_t>(options.single_tokens ? 1 : chunk);
    for (size_t at = 0; at < part.size(); at += step)
      MOXIE_TRY_VOID(sequence.append(std::span(part).subspan(at, step), score));
    ++result.chunks;
    const auto tokens = static_cast<double>(result.tokens);
    result.mean_nll = sum / tokens;
    result.perplexity = std::exp(result.mean_nll);
    const double variance = squares / tokens - result.mean_nll * result.mean_nll;
    result.error = variance > 0 && tokens > 1 ? std::sqrt(variance / (tokens - 1)) * result.perplexity : 0;
    if (on_chunk && !on_chunk(result)) return fail(ErrorCode::cancelled, "stopped after {} chunks", result.chunks);
  }
  return result;
}

}  // namespace moxie

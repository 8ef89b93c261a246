#include "engine/importance_maker.h"

#include <algorithm>
#include <utility>

#include "core/fail.h"
#include "engine/engine_impl.h"
#include "engine/importance_sums.h"

namespace moxie {
namespace {

// The engine computes with the sums' backend as long as this lives. REQUIRES: its step is held.
class Measuring {
 public:
  Measuring(Engine::Impl& engine, bool output)
      : engine_(engine), real_(std::move(engine.backend)), cache_(*engine.kv_pool, engine.runtime.context_tokens) {
    auto sums = std::make_unique<ImportanceSums>(*engine.model, *real_, engine.workspace.guess_acts, output);
    sums_ = sums.get();
    engine.backend = std::move(sums);
  }
  ~Measuring() {
    static_cast<void>(cache_.truncate(0));
    engine_.backend = std::move(real_);
  }

  Result<void> compute(std::span<const int32_t> chunk, bool output, const std::atomic<bool>* stop) {
    MOXIE_TRY_VOID(cache_.truncate(0));
    const std::function<void(int64_t, std::span<const float>)> nothing = [](int64_t, std::span<const float>) {};
    while (!chunk.empty()) {
      const size_t count = std::min(chunk.size(), static_cast<size_t>(engine_.workspace.max_tokens));
      MOXIE_TRY_VOID(engine_.compute({.state = cache_,
                                      .ids = chunk.first(count),
                                      .each = output ? &nothing : nullptr,
                                      .whole = true,
                                      .stop = stop}));
      chunk = chunk.subspan(count);
    }
    return {};
  }
  std::map<std::string, ImportanceEntry> entries() const { return sums_->entries(); }

 private:
  Engine::Impl& engine_;
  std::unique_ptr<Backend> real_;
  ImportanceSums* sums_ = nullptr;
  KvCache cache_;
};

}  // namespace

Result<ImportanceMatrix> make_importance(Engine& engine, std::span<const int32_t> ids, const ImportanceOptions& options,
                                         const std::function<void(int64_t, int64_t)>& on_chunk) {
  Engine::Impl& impl = EngineInternals::of(engine);
  const int64_t chunk = options.chunk_tokens, whole = chunk > 0 ? std::ssize(ids) / chunk : 0;
  if (chunk < 1 || chunk > impl.runtime.context_tokens) {
    return fail(ErrorCode::invalid_argument, "chunks of {} tokens do not fit into a context of {}", chunk,
                impl.runtime.context_tokens);
  }
  const int64_t total = options.chunks >= 0 ? std::min(options.chunks, whole) : whole;
  if (total == 0) {
    return fail(ErrorCode::invalid_argument,
                "the text has {} tokens, and {} chunks of {} are measured: nothing; give "
                "a longer one or a smaller -c",
                ids.size(), total, chunk);
  }
  const std::lock_guard lock(impl.step);
  Measuring measuring(impl, options.output);
  const bool replace = engine.adds_bos() && engine.bos() >= 0;
  std::vector<int32_t> part;
  for (int64_t index = 0; index < total; ++index) {
    const auto from = ids.subspan(static_cast<size_t>(index * chunk), static_cast<size_t>(chunk));
    part.assign(from.begin(), from.end());
    if (replace) part[0] = engine.bos();
    MOXIE_TRY_VOID(measuring.compute(part, options.output, options.stop));
    if (on_chunk) on_chunk(index + 1, total);
  }
  return ImportanceMatrix{.entries = measuring.entries(),
                          .datasets = {},
                          .chunks = static_cast<uint32_t>(total),
                          .chunk_tokens = static_cast<uint32_t>(chunk)};
}

}  // namespace moxie
